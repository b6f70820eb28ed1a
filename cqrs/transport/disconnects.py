"""Callers of a gRPC server that are gone before they are answered: no defect of the service."""

import logging

# gRPC's server for asyncio logs under this name, and what it raises where a caller is gone has this one.
_LOGGER = "grpc._cython.cygrpc"
_ERROR = "ExecuteBatchError"


def say_who_is_gone_in_a_line() -> None:
    """Has gRPC say that an answer could not be sent in one line of INFO, and not as an error with a traceback.

    Where a caller's process dies while it is answered, gRPC learns of its end and of the failed answer at the same
    moment. It says nothing when the end comes first, as it mostly does, and logs its own inside otherwise.
    """
    logging.getLogger(_LOGGER).addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    # By its name, since it is not public. Other errors are left as they are.
    if record.exc_info and record.exc_info[0] and record.exc_info[0].__name__ == _ERROR:
        record.msg, record.args = f"a caller was gone before it was answered: {record.getMessage()}", ()
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        record.exc_info = record.exc_text = None
    return True
