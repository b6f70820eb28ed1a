"""Who is behind a request, as Django's session cookie tells."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest


async def actor_of(headers: Mapping[bytes, bytes]) -> str:
    """The logged-in user's name, or an empty string. Asks the database, in a thread, only when there is a cookie."""
    cookies = headers.get(b"cookie")
    key = cookies and _session_key(cookies.decode("latin-1"))
    if not key:
        return ""
    username: str = await database_sync_to_async(_username)(key)
    return username


def _session_key(cookies: str) -> str:
    try:
        cookie = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _username(key: str) -> str:
    engine: Any = import_module(settings.SESSION_ENGINE)
    request = HttpRequest()
    request.session = engine.SessionStore(key)
    user = get_user(request)
    return user.get_username() if user.is_authenticated else ""
