"""The types that a client accepts (Accept) and the type of what it sent (Content-Type), cached by the header's value.

Django's `MediaType` parses and matches. Its `HttpRequest.get_preferred_type` is not used: it lets `*/*` bring back a
type that the client refuses by `q=0`, and tells `application/json; charset=utf-8` from `application/json`.
"""

import re
from functools import lru_cache

from django.http.request import MediaType
from django.utils.http import parse_header_parameters

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
CACHED = 1_000
"""Values of a header that are cached; a header has some kilobytes at most."""

_UTF8 = ("utf-8", "utf8")
# Without the digit before its point too: Java sends that.
_QUALITY = re.compile(r"[01](\.\d*)?|\.\d+")


@lru_cache(CACHED)
def response_type(accept: str | None) -> str | None:
    """The media type to answer in: JSON or GRAPHQL_RESPONSE, or None when the client accepts neither.

    A client that says nothing, or that takes anything, gets JSON, whose status codes clients of long ago understand.
    Of two that it likes equally, it gets the one that it names first.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = _ranges(accept)
    liked: list[tuple[float, int, str]] = []
    for ours in (JSON, GRAPHQL_RESPONSE):
        fitting = [each for each in ranges if each.match(ours)]
        # The most specific range counts, be it one that refuses.
        found = max(fitting, key=lambda each: each.specificity, default=None)
        if found and found.quality > 0:
            liked.append((found.quality, -ranges.index(found), ours))
    return max(liked, key=lambda each: each[:2])[2] if liked else None


def wants_page(accept: str | None) -> bool:
    """Whether a browser asks for a page: it names text/html, and likes no answer of ours more."""
    named = {f"{each.main_type}/{each.sub_type}": each.quality for each in reversed(_ranges(accept or ""))}
    return named.get("text/html", 0) > 0 and named["text/html"] >= max(
        named.get(JSON, 0), named.get(GRAPHQL_RESPONSE, 0)
    )


@lru_cache(CACHED)
def content_type_error(content_type: str | None) -> str | None:
    """Why a body of this type is refused, or None.

    Only JSON is taken: a page of another site can send a form or text without asking first, but not this.
    """
    if not content_type:
        return f"the body needs a Content-Type: {JSON}"
    kind, parameters = parse_header_parameters(content_type)
    if kind != JSON:
        return f"the body must be {JSON}, not {kind}"
    charset = str(parameters.get("charset", "utf-8")).lower()
    return None if charset in _UTF8 else f"the body must be UTF-8, not {charset}"


def _ranges(accept: str) -> list[MediaType]:
    """The media ranges in the header's order, less those in another charset than UTF-8 or with a malformed quality."""
    ranges = [MediaType(part) for part in accept.split(",")]
    return [
        each
        for each in ranges
        if str(each.params.pop("charset", "utf-8")).lower() in _UTF8
        and _QUALITY.fullmatch(str(each.params.get("q", "1")))
    ]
