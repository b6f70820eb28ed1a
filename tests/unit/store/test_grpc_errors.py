"""Errors as gRPC status codes."""

from typing import Any

import grpc
import pytest

from cqrs.store.errors import DatabaseServiceError, PositionTooOld
from cqrs.store.grpc_errors import statuses


class Special(PositionTooOld):
    """A kind of its own."""


class Unheard(DatabaseServiceError):
    """Of no class that has a code."""


class Context:
    """A call that takes down how it is ended."""

    def __init__(self) -> None:
        self.ended: tuple[Any, str] | None = None

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.ended = (code, details)


@pytest.mark.parametrize(
    ("error", "code"), [(Special(), grpc.StatusCode.OUT_OF_RANGE), (Unheard(), grpc.StatusCode.INTERNAL)]
)
async def test_an_error_has_the_code_of_the_nearest_class_that_has_one(
    error: DatabaseServiceError, code: grpc.StatusCode
):
    context = Context()
    async with statuses(context):
        raise error
    assert context.ended == (code, str(error))
