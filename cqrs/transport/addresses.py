"""Addresses: "host:port", and the sockets that listen there."""

import contextlib
import os
import socket

from cqrs.transport.process import StartError


class CannotListen(StartError):
    """The address cannot be listened on."""

    def __init__(self, bind: str, reason: str | OSError) -> None:
        if isinstance(reason, OSError):
            # By its number: asyncio has a text of its own, and the names that getaddrinfo looks up have no number.
            known = reason.errno is not None and reason.errno > 0
            reason = os.strerror(reason.errno or 0) if known else reason.strerror or str(reason)
        super().__init__(f"cannot listen on {bind} ({reason})")


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 8888) of "127.0.0.1:8888"; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def check_free(bind: str) -> None:
    """Raises CannotListen when another process listens there, or the address is none of this machine."""
    for bound in bind_sockets(bind):
        bound.close()


def bind_sockets(bind: str, *, reuse_port: bool = False) -> list[socket.socket]:
    """A socket, which does not listen yet, for each address that the host's name stands for. Raises CannotListen.

    reuse_port: other processes that say so too may listen there; the system spreads the connections over all of them.
    """
    host, port = split_address(bind)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with contextlib.ExitStack() as opened:
            sockets = [opened.enter_context(socket.socket(*kind)) for *kind, _name, _address in found]
            for each, (*_, address) in zip(sockets, found, strict=True):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if reuse_port:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if each.family == socket.AF_INET6:
                    each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                each.bind(address)
            opened.pop_all()
    except OSError as error:
        raise CannotListen(bind, error) from error
    return sockets
