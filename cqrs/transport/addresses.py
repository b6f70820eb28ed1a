"""Addresses: "host:port"."""


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 8888) of "127.0.0.1:8888"; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
