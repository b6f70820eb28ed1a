"""Tokens that keep the sides apart on the wire: a service that has one answers only calls that carry it."""

from __future__ import annotations  # gRPC's handlers are generic in their stubs alone

import hmac
from collections.abc import Mapping
from typing import Any

import grpc

from cqrs.transport.handlers import Context, Handler, preceded

_KEY = "authorization"


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """gRPC metadata that carries `token`; empty when there is none."""
    return ((_KEY, f"Bearer {token}"),) if token else ()


class TokenGuard:
    """Refuses calls of a guarded service without its token (UNAUTHENTICATED), without looking at the request.

    `tokens`: full service name, for example "protocol.ContactWriter", to its token; an empty token guards nothing.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._expected = {service: f"Bearer {token}".encode() for service, token in tokens.items() if token}

    def __call__(self, method: str, handler: Handler) -> Handler:
        service = method.rpartition("/")[0].lstrip("/")
        expected = self._expected.get(service)
        if expected is None:
            return handler

        async def check(request: Any, context: Context) -> Any:
            given = str(dict(context.invocation_metadata() or ()).get(_KEY, ""))
            if not hmac.compare_digest(given.encode(), expected):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{service} needs its token")
            return request

        return preceded(handler, check, handler.request_deserializer)
