"""Addresses that nobody listens on."""

import contextlib
import random
import socket

HOST = "127.0.0.1"
_given: set[int] = set()


def free_address() -> str:
    """A "host:port" that was not given before; below the ephemeral ports, which outgoing connections take."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in _given:
                _given.add(port)
                return f"{HOST}:{port}"
