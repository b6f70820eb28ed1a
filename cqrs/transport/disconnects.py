"""Callers of a gRPC server that disconnect before they are answered: no defect of the service.

Checked with grpcio 1.85, whose private parts it knows by name; requirements.txt pins the minor version.
"""

import logging

# gRPC's server for asyncio logs under this name, and raises this when a caller has disconnected.
_LOGGER = "grpc._cython.cygrpc"
_ERROR = "ExecuteBatchError"


def log_disconnects_in_a_line() -> None:
    """Has gRPC log that an answer could not be sent in one line of INFO, and not as an error with a traceback.

    Where a caller's process dies while it is answered, gRPC learns of its end and of the failed answer at the same
    moment. It logs nothing when the end comes first, as it mostly does, and its own inside otherwise.
    """
    logging.getLogger(_LOGGER).addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    # By its name, since it is not public. Other errors are left as they are.
    if record.exc_info and record.exc_info[0] and record.exc_info[0].__name__ == _ERROR:
        record.msg, record.args = f"a caller disconnected before it was answered: {record.getMessage()}", ()
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        record.exc_info = record.exc_text = None
    return True
