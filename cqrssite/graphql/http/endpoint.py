"""GraphQL over HTTP, to the letter of its specification, as an ASGI application of its own.

It does not pass Django's middleware (which would cost most of the time a query takes), so it checks by itself the host,
the origin, the type and the size of a request. Where the specification only recommends, the endpoint does this:

- A client without an Accept header, or that accepts anything, gets application/json: status 200 for every well-formed
  request, errors included. In application/graphql-response+json a request that could not be executed gets 400.
- A partial result (data and errors) is 200 in both, as every edition of the specification allows: clients know it.
- A malformed request (JSON, parameters) gets 400.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
from graphql import OperationType

from cqrssite.asgi_apps import Receive, Scope, Send
from cqrssite.graphql.actor import actor_of
from cqrssite.graphql.context import Context, Services, WebSettings, settle_seconds
from cqrssite.graphql.engine.answers import HELD, LONG, Hold, check_size
from cqrssite.graphql.engine.errors import BAD_USER_INPUT, UNAVAILABLE, Formatted, RequestRefused, plain
from cqrssite.graphql.engine.operation import Operation
from cqrssite.graphql.errors import INTERNAL_SERVER_ERROR, BadInput, format_exception
from cqrssite.graphql.http import graphiql
from cqrssite.graphql.http.negotiation import GRAPHQL_RESPONSE, JSON, content_type_error, response_type, wants_page
from cqrssite.graphql.http.origins import HostPolicy, OriginPolicy, headers_of
from cqrssite.graphql.http.request import read_request
from cqrssite.graphql.schema import executor
from cqrssite.serving.deadlines import Deadlines

MAX_BODY = 256 * 1024
"""Bytes of a request's body, and of its query string."""
PIECE = 64 * 1024
"""Bytes of a long body that are sent in one go."""
REQUEST_SECONDS = 30.0
"""How long an operation may take."""

Headers = list[tuple[bytes, bytes]]

_HEAD = ((b"vary", b"accept, origin"), (b"x-content-type-options", b"nosniff"))
_NO_STORE = (b"cache-control", b"no-store")
_TYPES = {kind: (b"content-type", f"{kind}; charset=utf-8".encode()) for kind in (JSON, GRAPHQL_RESPONSE)}


class Reply(NamedTuple):
    """A whole HTTP response."""

    status: int
    headers: Headers
    body: bytes = b""
    hold: Hold | None = None
    """What counts a long body until it is sent."""


class _Refused(Exception):
    """Ends a request with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class GraphQLEndpoint:
    """The ASGI application of /graphql and /. Serves GraphiQL to browsers besides."""

    def __init__(
        self, gateway: Callable[[], Services], settings: WebSettings, *, seconds: float = REQUEST_SECONDS
    ) -> None:
        self._gateway = gateway
        self._executor = executor()
        self._hosts = HostPolicy(settings.allowed_hosts)
        self._origins = OriginPolicy(settings.allowed_origins)
        self._settle_seconds = settle_seconds(settings.delay)
        self._deadlines = Deadlines(seconds)
        self._page = graphiql.read_page()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope["headers"])
        try:
            reply = await self._reply(scope, headers, receive)
        except _Refused as refused:
            reply = refused.reply
        if reply is None:
            return  # The client left before its request was complete.
        head: Headers = [*reply.headers, *_HEAD, (b"content-length", b"%d" % len(reply.body))]
        if b"origin" in headers and self._origins.is_allowed(headers):
            head.append((b"access-control-allow-origin", headers[b"origin"]))
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        body = b"" if scope["method"] == "HEAD" else reply.body
        if len(body) >= LONG:
            await self._send_long(body, reply.hold, send)
        else:
            await send({"type": "http.response.body", "body": body})

    async def _send_long(self, body: bytes, hold: Hold | None, send: Send) -> None:
        """Sends a body in pieces, each when the client has taken those before; then the server takes its next request.

        A client that takes none for as long as an operation may take is left: the server closes its connection.
        """
        with hold or HELD.hold(0), suppress(TimeoutError):
            for start in range(0, len(body), PIECE):
                with self._deadlines.limit():
                    await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
            with self._deadlines.limit():
                await send({"type": "http.response.body", "body": b""})

    async def _reply(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Reply | None:
        if error := self._hosts.error(headers):
            return _error(400, error)
        if b"origin" in headers and (error := self._origins.error(headers)):
            return _error(403, error)
        method = scope["method"]
        if method == "POST":
            return await self._post(headers, receive)
        if method in ("GET", "HEAD"):
            return await self._get(scope, headers)
        allow = (b"allow", b"GET, HEAD, POST, OPTIONS")
        if method == "OPTIONS":
            return Reply(204, [allow, *self._preflight(headers)])
        return _error(405, f"{method} is not answered here", allow)

    def _preflight(self, headers: dict[bytes, bytes]) -> Headers:
        """The headers that let a browser send requests of a page of an allowed origin."""
        if b"access-control-request-method" not in headers or not self._origins.is_allowed(headers):
            return []
        return [
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", headers.get(b"access-control-request-headers", b"content-type")),
            (b"access-control-max-age", b"600"),
        ]

    async def _post(self, headers: dict[bytes, bytes], receive: Receive) -> Reply | None:
        media_type = _media_type(headers)
        if error := content_type_error(_text(headers, b"content-type")):
            return _error(415, error, media_type=media_type)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return _error(415, "the body must not be compressed", media_type=media_type)
        body = await _read_body(headers, receive, media_type)
        if body is None:
            return None
        try:
            parameters = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return _error(400, f"the body is not JSON: {error}", media_type=media_type)
        return await self._answer(parameters, headers, media_type)

    async def _get(self, scope: Scope, headers: dict[bytes, bytes]) -> Reply:
        query_string = scope["query_string"]
        if len(query_string) > MAX_BODY:
            return _error(414, f"the query string is larger than {MAX_BODY} bytes")
        given = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
        if "query" not in given:
            if scope["path"] == "/":
                return Reply(302, [(b"location", f"{scope.get('root_path', '')}/graphql".encode())])
            if wants_page(_text(headers, b"accept")):
                return Reply(200, graphiql.HEADERS, self._page)
        media_type = _media_type(headers)
        parameters: dict[str, Any] = dict(given)
        for key in ("variables", "extensions"):
            if key in given:
                parameters[key] = _json_parameter(key, given[key], media_type)
        return await self._answer(parameters, headers, media_type, only_queries=True)

    async def _answer(
        self, parameters: Any, headers: dict[bytes, bytes], media_type: str, *, only_queries: bool = False
    ) -> Reply:
        try:
            request = read_request(parameters)
        except BadInput as error:
            return _error(400, str(error), media_type=media_type)
        try:
            operation = self._executor.find(request) or await self._executor.prepare(request)
            if only_queries and operation.kind is not OperationType.QUERY:
                return _error(405, f"a {operation.kind.value} is not executed by GET", (b"allow", b"POST"))
            return _long(_json(200, await self._execute(operation, headers), media_type))
        except RequestRefused as refused:
            return _refusal(refused.errors, media_type)
        except Exception as error:  # noqa: BLE001 (it is logged there)
            # A defect outside of any resolver; everything expected is an error of a field, or RequestRefused.
            return _json(500, {"errors": [format_exception(error, "outside of the schema")]}, media_type)

    async def _execute(self, operation: Operation, headers: dict[bytes, bytes]) -> dict[str, Any]:
        if operation.kind is OperationType.SUBSCRIPTION:
            message = "subscriptions are served over WebSocket, by the graphql-transport-ws protocol, at this address"
            raise RequestRefused([plain(message, BAD_USER_INPUT)])
        context = Context(
            self._gateway, partial(actor_of, headers), settle_seconds=self._settle_seconds, width=operation.width
        )
        try:
            with self._deadlines.limit():
                return await self._executor.execute(operation, context)
        except TimeoutError:
            message = (
                f"not answered within {self._deadlines.seconds:g} s; a mutation may have been accepted all the same"
            )
            raise RequestRefused([plain(message, UNAVAILABLE)]) from None


def _media_type(headers: dict[bytes, bytes]) -> str:
    """The type to answer in; ends the request with 406 when none is accepted."""
    media_type = response_type(_text(headers, b"accept"))
    if media_type is None:
        raise _Refused(_error(406, f"answers are {GRAPHQL_RESPONSE} or {JSON}, in UTF-8"))
    return media_type


async def _read_body(headers: dict[bytes, bytes], receive: Receive, media_type: str) -> bytes | None:
    """The whole body, or None when the client left. Ends the request with 413 when it is too large."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise _too_large(media_type)
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        body = body + part if body else part
        if len(body) > MAX_BODY:
            raise _too_large(media_type)
        if not message.get("more_body", False):
            return body


def _too_large(media_type: str) -> _Refused:
    return _Refused(_error(413, f"the body is larger than {MAX_BODY} bytes", media_type=media_type))


def _json_parameter(key: str, value: str, media_type: str) -> Any:
    """The value of a JSON parameter of a URL; an empty one counts as absent."""
    try:
        return orjson.loads(value) if value else None
    except orjson.JSONDecodeError as error:
        raise _Refused(_error(400, f"{key} is not JSON: {error}", media_type=media_type)) from error


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    return headers[name].decode("latin-1") if name in headers else None


def _refusal(errors: list[Formatted], media_type: str) -> Reply:
    """The reply to a well-formed request that was not executed."""
    codes = {error["extensions"]["code"] for error in errors}
    status = 500 if INTERNAL_SERVER_ERROR in codes else 503 if UNAVAILABLE in codes else 400
    return _json(status if media_type == GRAPHQL_RESPONSE else 200, {"errors": errors}, media_type)


def _error(status: int, message: str, *headers: tuple[bytes, bytes], media_type: str = JSON) -> Reply:
    """The reply to a malformed or forbidden request."""
    reply = _json(status, {"errors": [plain(message, BAD_USER_INPUT)]}, media_type)
    return reply._replace(headers=[*reply.headers, *headers])


def _long(reply: Reply) -> Reply:
    """The reply, counted until it is sent where it is long. Raises RequestRefused where it is too long, or one more."""
    if len(reply.body) < LONG:
        return reply
    check_size(len(reply.body))
    return reply._replace(hold=HELD.hold(len(reply.body)))


def _json(status: int, content: dict[str, Any], media_type: str) -> Reply:
    return Reply(status, [_TYPES[media_type], _NO_STORE], orjson.dumps(content))
