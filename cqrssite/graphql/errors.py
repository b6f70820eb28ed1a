"""Where every exception becomes a GraphQL error: a message for people, `extensions.code` for programs.

An exception that is not known here is a defect: it is logged with its traceback under an id, and the client gets that
id alone.
"""

import logging
import uuid

from cqrs.journal import errors as write
from cqrs.query import errors as read
from cqrssite.graphql.engine.errors import BAD_USER_INPUT, UNAVAILABLE, Formatted, plain
from cqrssite.wiring import GatewayNotOpen

log = logging.getLogger("cqrssite.graphql")

NOT_FOUND = "NOT_FOUND"
CONFLICT = "CONFLICT"
POSITION_TOO_OLD = "POSITION_TOO_OLD"
POSITION_UNKNOWN = "POSITION_UNKNOWN"
INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"


class GatewayError(Exception):
    """A refusal by the gateway itself; its message is meant for the client."""

    code = INTERNAL_SERVER_ERROR


class BadInput(GatewayError):
    """An argument or a document is not what it has to be."""

    code = BAD_USER_INPUT


class NotFound(GatewayError):
    """The thing asked for does not exist."""

    code = NOT_FOUND


class Conflict(GatewayError):
    """The request contradicts the state things are in."""

    code = CONFLICT


class Unavailable(GatewayError):
    """It cannot be done now; later it may."""

    code = UNAVAILABLE


class FeedEnded(GatewayError):
    """The gateway stops: the subscription goes on elsewhere, or here after the restart."""

    code = UNAVAILABLE


# The first that fits counts; an exception that fits none is a defect.
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
    """The message of an exception without one: its docstring's first line."""
    return (type(error).__doc__ or type(error).__name__).strip().splitlines()[0]
