"""The policies on who may ask: the Host and Origin of a request or handshake, which do not pass Django's middleware."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

from cqrs import conf

CACHED = 1_000
"""Values of the Host header whose check is cached: the same few come again and again."""


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """An ASGI scope's headers by lowercase name; those sent several times joined by commas, cookies by semicolons."""
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers:
            value = headers[name] + (b"; " if name == b"cookie" else b", ") + value
        headers[name] = value
    return headers


class HostPolicy:
    """Checks the Host header by settings, as Django's ALLOWED_HOSTS says. This keeps DNS rebinding out."""

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self._allowed = list(allowed_hosts)
        self._error_of = lru_cache(CACHED)(self._check)

    def error(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Why the host is refused, or None."""
        return self._error_of(headers.get(b"host", b""))

    def _check(self, value: bytes) -> str | None:
        host = value.decode("latin-1")
        domain, _port = split_domain_port(host)
        if domain and validate_host(domain, self._allowed):
            return None
        return f"the host {host!r} is not served here; {conf.called('allowed_hosts')} says which are"


class OriginPolicy:
    """Checks the Origin header by settings, as Django's CSRF_TRUSTED_ORIGINS says."""

    def __init__(self, allowed_origins: Iterable[str]) -> None:
        origins = [origin.lower().rstrip("/") for origin in allowed_origins]
        self._origins = frozenset(origin for origin in origins if "*" not in origin)
        # https://*.example.org: any name below example.org, by https.
        self._wildcards = [tuple(origin.split("*", 1)) for origin in origins if "*" in origin]

    def error(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Why the origin is refused, or None. A request without an Origin comes from no page of another site."""
        if b"origin" not in headers or self.is_same(headers) or self.is_allowed(headers):
            return None
        origin = headers[b"origin"].decode("latin-1")
        return f"pages of {origin!r} may not use this; CONTACTS_ALLOWED_ORIGINS says which may"

    def is_same(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the page is of this very host and port. (Its scheme is not known behind a proxy that ends TLS.)"""
        origin = urlsplit(headers.get(b"origin", b"").decode("latin-1").lower())
        host = headers.get(b"host", b"").decode("latin-1").lower()
        return bool(origin.netloc) and origin.scheme in ("http", "https") and origin.netloc == host

    def is_allowed(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the page's origin is one of the settings'."""
        if b"origin" not in headers:
            return False
        origin = headers[b"origin"].decode("latin-1").lower()
        return origin in self._origins or any(
            origin.startswith(start) and origin.endswith(end) for start, end in self._wildcards
        )
