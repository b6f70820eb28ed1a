"""The page of GraphiQL. Its script and styles are static files of ours: it works offline."""

import re
from pathlib import Path

from django.templatetags.static import static

_PAGE = Path(__file__).resolve().parents[2] / "web" / "graphiql.html"

# The editor sets styles from its script, hence 'unsafe-inline' for these alone; its fonts and icons are data URLs.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", _POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]


def read_page() -> bytes:
    """The page's HTML, with its files where the project serves static files."""
    return re.sub('(?<=")/static/([^"]+)', lambda found: static(found[1]), _PAGE.read_text()).encode()
