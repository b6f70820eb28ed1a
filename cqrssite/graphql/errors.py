"""Where every error becomes a GraphQL error: a message for people, `extensions.code` for programs.

What is not known here is a defect: logged with its traceback under an id, and told to the client as that id alone.
"""

import logging
import uuid
from typing import Any

from graphql import GraphQLError

from cqrs.journal import errors as write
from cqrs.query import errors as read
from cqrssite.wiring import GatewayNotOpen

log = logging.getLogger("cqrssite.graphql")

BAD_USER_INPUT = "BAD_USER_INPUT"
NOT_FOUND = "NOT_FOUND"
CONFLICT = "CONFLICT"
UNAVAILABLE = "UNAVAILABLE"
POSITION_TOO_OLD = "POSITION_TOO_OLD"
POSITION_UNKNOWN = "POSITION_UNKNOWN"
GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"

Formatted = dict[str, Any]
"""An error as the GraphQL specification lays it out."""


class GatewayError(Exception):
    """What the gateway itself refuses; its message is meant for the client."""

    code = INTERNAL_SERVER_ERROR


class BadInput(GatewayError):
    """An argument or a document is not what it has to be."""

    code = BAD_USER_INPUT


class NotFound(GatewayError):
    """What was asked for does not exist."""

    code = NOT_FOUND


class Conflict(GatewayError):
    """What was asked for contradicts the state things are in."""

    code = CONFLICT


class Unavailable(GatewayError):
    """It cannot be done now; later it may."""

    code = UNAVAILABLE


class FeedEnded(GatewayError):
    """The gateway stops: what is subscribed goes on elsewhere, or here after the restart."""

    code = UNAVAILABLE


class RequestRefused(Exception):
    """An operation that was not executed, with its errors as they are sent."""

    def __init__(self, errors: list[Formatted]) -> None:
        super().__init__("; ".join(str(error["message"]) for error in errors))
        self.errors = errors


# The first that fits; what fits none is a defect.
_CODES: list[tuple[type[Exception], str]] = [
    (GatewayNotOpen, UNAVAILABLE),
    (write.InvalidCommand, BAD_USER_INPUT),
    (write.KeyConflict, CONFLICT),
    (write.NotCancellable, CONFLICT),
    (write.UnknownCommand, NOT_FOUND),
    (write.JournalFull, UNAVAILABLE),
    (write.JournalUnavailable, UNAVAILABLE),
    (write.BrokerAway, UNAVAILABLE),
    (read.PositionTooOld, POSITION_TOO_OLD),
    (read.PositionUnknown, POSITION_UNKNOWN),
    (read.PositionInvalid, BAD_USER_INPUT),
    (read.InvalidRead, BAD_USER_INPUT),
    (read.ReaderUnavailable, UNAVAILABLE),
    (read.ExtensionMissing, UNAVAILABLE),
    (read.SubscriberTooSlow, UNAVAILABLE),
]


def code_of(error: BaseException) -> str:
    """The code that clients see for this error; INTERNAL_SERVER_ERROR when it is unexpected."""
    if isinstance(error, GatewayError):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), INTERNAL_SERVER_ERROR)


def plain(message: str, code: str) -> Formatted:
    """A GraphQL error that belongs to no place in a document."""
    return {"message": message, "extensions": {"code": code}}


def format_error(error: GraphQLError, code: str = BAD_USER_INPUT) -> Formatted:
    """The error as it is sent. `code` is for those that GraphQL itself raises, not a resolver."""
    formatted = dict(error.formatted)
    cause = error.original_error
    if cause is None or isinstance(cause, GraphQLError):
        formatted["extensions"] = {**(error.extensions or {}), "code": code}
        return formatted
    return formatted | format_exception(cause, f"at {'.'.join(map(str, error.path or ()))}")


def format_exception(error: BaseException, place: str) -> Formatted:
    """An exception as a GraphQL error. Logs it, with where it came up, and hides its message when it is unexpected."""
    code = code_of(error)
    if code != INTERNAL_SERVER_ERROR:
        return plain(str(error) or _sentence(error), code)
    error_id = uuid.uuid4().hex
    log.error("error %s %s", error_id, place, exc_info=error)
    message = f"something unexpected went wrong; it is logged as error {error_id}"
    return {"message": message, "extensions": {"code": code, "errorId": error_id}}


def _sentence(error: BaseException) -> str:
    """What an exception without a message has to say: its docstring's first line."""
    return (type(error).__doc__ or type(error).__name__).strip().splitlines()[0]
