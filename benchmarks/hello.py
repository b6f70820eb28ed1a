"""The measure of all figures: the least that an ASGI server can be asked to do."""

from cqrssite.asgi_apps import Message, Receive, Scope, Send

_START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"13")]}
_BODY: Message = {"type": "http.response.body", "body": b"Hello, world!"}


async def application(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers every HTTP request with 13 bytes."""
    if scope["type"] == "http":
        await send(_START)
        await send(_BODY)
