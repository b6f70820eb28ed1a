"""The command line that all stand-ins share: where the others are, and the writer's delay."""

import argparse


def parse() -> argparse.Namespace:
    """Addresses ("host:port") of broker, database, reader and gateway, and `delay` in seconds."""
    parser = argparse.ArgumentParser()
    for name in ("broker", "database", "reader", "gateway"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--delay", type=float, required=True)
    return parser.parse_args()


def split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
