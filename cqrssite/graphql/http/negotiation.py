"""What a client wants to read (Accept) and what it sent (Content-Type); remembered by the header's value."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
HTML = "text/html"

REMEMBERED = 1_000
"""Values of a header that are remembered; a header has some kilobytes at most."""


class _Range(NamedTuple):
    """One media range of an Accept header."""

    kind: str
    charset: str
    quality: float


@lru_cache(REMEMBERED)
def response_type(accept: str | None) -> str | None:
    """The media type to answer in: JSON or GRAPHQL_RESPONSE, or None when the client accepts neither.

    A client that says nothing, or that takes anything, gets JSON, whose status codes clients of long ago understand.
    Between two that it likes equally, the one that it names first counts.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = list(_ranges(accept))
    best: tuple[float, int, str] | None = None
    for ours in (JSON, GRAPHQL_RESPONSE):
        found = _quality(ours, ranges)
        if found and found[0] > 0 and (best is None or (found[0], -found[1]) > (best[0], -best[1])):
            best = (*found, ours)
    return best[2] if best else None


def wants_page(accept: str | None) -> bool:
    """Whether a browser asks for a page: it names text/html, and likes no answer of ours more."""
    ranges = list(_ranges(accept or ""))
    page = max((a.quality for a in ranges if a.kind == HTML), default=0.0)
    named = max((a.quality for a in ranges if a.kind in (JSON, GRAPHQL_RESPONSE)), default=0.0)
    return page > 0 and page >= named


@lru_cache(REMEMBERED)
def content_type_error(content_type: str | None) -> str | None:
    """Why a body of this type is refused, or None.

    Only JSON is taken: a page of another site can send a form or text without asking first, but not this.
    """
    if not content_type:
        return f"the body needs a Content-Type: {JSON}"
    kind, parameters = _parse(content_type)
    if kind != JSON:
        return f"the body must be {JSON}, not {kind}"
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8"):
        return f"the body must be UTF-8, not {charset}"
    return None


def _quality(ours: str, ranges: list[_Range]) -> tuple[float, int] | None:
    """How much the most specific range that fits is liked, and its place in the header."""
    fitting = [
        (2 if a.kind == ours else 1 if a.kind == "application/*" else 0, -place, a.quality)
        for place, a in enumerate(ranges)
        if a.kind in (ours, "application/*", "*/*") and a.charset in ("", "utf-8", "utf8")
    ]
    if not fitting:
        return None
    _, place, quality = max(fitting)
    return quality, -place


def _ranges(accept: str) -> Iterator[_Range]:
    for part in accept.split(","):
        kind, parameters = _parse(part)
        if not kind:
            continue
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        yield _Range(kind, parameters.get("charset", "").lower(), quality)


def _parse(value: str) -> tuple[str, dict[str, str]]:
    kind, *rest = value.split(";")
    parameters = {}
    for parameter in rest:
        key, _, text = parameter.partition("=")
        parameters[key.strip().lower()] = text.strip().strip('"')
    return kind.strip().lower(), parameters
