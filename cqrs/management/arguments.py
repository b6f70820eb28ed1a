"""Types of command line arguments: what is wrong is one sentence."""

from argparse import ArgumentParser, ArgumentTypeError

from cqrs.transport.addresses import split_address

MAX_DELAY = 86_400


def address(value: str) -> str:
    """A "host:port"."""
    try:
        host, port = split_address(value)
    except ValueError:
        host, port = "", 0
    if not host or not 0 <= port <= 65_535:
        raise ArgumentTypeError(f"must be host:port, for example 127.0.0.1:1883, not {value!r}")
    return value


def delay(value: str) -> float:
    """Seconds, 0 to a day."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_DELAY:
        raise ArgumentTypeError(f"must be 0 to {MAX_DELAY} seconds, not {value!r}")
    return seconds


def add_address(parser: ArgumentParser, option: str, default: str) -> None:
    """Adds an option that takes a "host:port"."""
    parser.add_argument(option, type=address, default=default, help="host:port (default: %(default)s)")
