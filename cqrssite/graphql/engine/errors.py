"""Errors of requests as they are sent: a message for people, `extensions.code` for programs."""

from typing import Any

from graphql import GraphQLError

BAD_USER_INPUT = "BAD_USER_INPUT"
UNAVAILABLE = "UNAVAILABLE"
GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"

MAX_MESSAGE = 200
"""Characters of a message: no error repeats more of what was sent."""

Formatted = dict[str, Any]
"""An error as the GraphQL specification lays it out."""


class RequestRefused(Exception):
    """An operation that was not executed, with its errors as they are sent."""

    def __init__(self, errors: list[Formatted]) -> None:
        super().__init__("; ".join(str(error["message"]) for error in errors))
        self.errors = errors


def plain(message: str, code: str) -> Formatted:
    """A GraphQL error that belongs to no place in a document."""
    return {"message": shortened(message), "extensions": {"code": code}}


def shortened(message: str) -> str:
    """The message, or its beginning."""
    # The transports write UTF-8: half of a pair, as JSON can escape it, has no place there.
    if not message.isascii():
        message = message.encode(errors="replace").decode()
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"


def format_error(error: GraphQLError, code: str = BAD_USER_INPUT) -> Formatted:
    """An error that GraphQL itself raised, as it is sent."""
    formatted: Formatted = dict(error.formatted)
    formatted["message"] = shortened(error.message)
    formatted["extensions"] = {**(error.extensions or {}), "code": code}
    return formatted
