"""Errors of the database service become gRPC status codes here, and nowhere else."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from cqrs.store.errors import (
    DatabaseAway,
    DatabaseServiceError,
    InvalidRequest,
    PositionInvalid,
    PositionTooOld,
    PositionUnknown,
    TooManyWatchers,
)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_CODES: dict[type, grpc.StatusCode] = {
    DatabaseAway: grpc.StatusCode.UNAVAILABLE,
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    PositionInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    PositionTooOld: grpc.StatusCode.OUT_OF_RANGE,
    PositionUnknown: grpc.StatusCode.FAILED_PRECONDITION,
    TooManyWatchers: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@contextlib.asynccontextmanager
async def statuses(context: Context) -> AsyncIterator[None]:
    """Ends the call with the status code of what is raised within."""
    try:
        yield
    except DatabaseServiceError as error:
        await context.abort(_code_of(error), str(error))


def _code_of(error: DatabaseServiceError) -> grpc.StatusCode:
    """The code of the error's class, or of the nearest class that it is derived from."""
    return next((_CODES[each] for each in type(error).__mro__ if each in _CODES), grpc.StatusCode.INTERNAL)
