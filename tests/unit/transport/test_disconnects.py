"""Callers that disconnect before they are answered."""

import logging

from grpc._cython import cygrpc

from cqrs.transport.disconnects import log_disconnects_in_a_line


def test_a_disconnected_caller_is_logged_in_one_line_and_other_errors_of_grpc_as_they_are(caplog):
    log_disconnects_in_a_line()
    log_disconnects_in_a_line()
    caplog.set_level(logging.INFO)
    for error in (cygrpc.ExecuteBatchError("the batch failed"), KeyError("a defect")):
        try:
            raise error
        except Exception:
            logging.getLogger("grpc._cython.cygrpc").exception("raised by servicer method [%s]", "/a.B/C")
    line, error = caplog.records
    assert line.levelname == "INFO"
    assert line.message == "a caller disconnected before it was answered: raised by servicer method [/a.B/C]"
    assert line.exc_info is None
    assert (error.levelname, error.message) == ("ERROR", "raised by servicer method [/a.B/C]")
    assert error.exc_info
