"""Ports that nobody listens on, on this machine."""

import contextlib
import random
import socket

HOST = "127.0.0.1"
# Below the ephemeral ones, so that no outgoing connection takes a port while its owner is down.
PORTS = range(10_000, 32_000)

_given: set[int] = set()
# Not the generator that a seed may have been given to: two runs would take the same ports.
_dice = random.SystemRandom()


def free_port(ports: range = PORTS) -> int:
    """A free port of these, which was not given before by this process."""
    while True:
        port = _dice.choice(ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in _given:
                _given.add(port)
                return port


def free_address(ports: range = PORTS) -> str:
    """A "host:port" of a free port."""
    return f"{HOST}:{free_port(ports)}"
