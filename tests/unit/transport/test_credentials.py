"""Tokens: a service that has one is reached only with it."""

from types import SimpleNamespace

import grpc
import pytest

from cqrs.transport.credentials import TokenCheck, metadata_of

CHECK = TokenCheck({"cqrs.WriteService": "s3cret", "cqrs.ReadService": ""})
HANDLER = object()


class Refused(Exception):
    pass


class Context:
    async def abort(self, code, details):
        raise Refused(code, details)


async def handler_of(method, metadata=()):
    """The handler that a call of the method gets."""

    async def continuation(_details):
        return HANDLER

    return await CHECK.intercept_service(continuation, SimpleNamespace(method=method, invocation_metadata=metadata))


def test_no_token_no_metadata():
    assert metadata_of("") == ()
    assert metadata_of("s3cret") == (("authorization", "Bearer s3cret"),)


@pytest.mark.parametrize("method", ["/cqrs.ReadService/Read", "/grpc.health.v1.Health/Check"])
async def test_a_service_without_a_token_is_open(method):
    assert await handler_of(method) is HANDLER


async def test_a_call_with_the_token_passes():
    assert await handler_of("/cqrs.WriteService/Apply", metadata_of("s3cret")) is HANDLER


@pytest.mark.parametrize("metadata", [(), None, metadata_of("other"), (("authorization", "s3cret"),)])
async def test_a_call_without_the_token_is_refused_before_it_is_read(metadata):
    handler = await handler_of("/cqrs.WriteService/Apply", metadata)
    assert handler.request_streaming
    with pytest.raises(Refused) as refused:
        await handler.stream_stream(None, Context())
    assert refused.value.args == (grpc.StatusCode.UNAUTHENTICATED, "cqrs.WriteService needs its token")
