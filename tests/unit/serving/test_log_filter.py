import logging

import pytest

from cqrssite.serving import log_filter
from cqrssite.serving.log_filter import RateLimitFilter


def record(message: str, level: int = logging.WARNING, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("uvicorn.error", level, "", 0, message, arguments, None)


def test_a_message_is_logged_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(log_filter.time, "monotonic", lambda: clock)
    limited = RateLimitFilter()
    assert limited.filter(record("invalid from %s", logging.WARNING, "a"))
    assert not limited.filter(record("invalid from %s", logging.WARNING, "b"))
    assert limited.filter(record("another"))
    clock = 1.0
    assert limited.filter(record("invalid from %s", logging.WARNING, "c"))


def test_no_error_is_held_back() -> None:
    limited = RateLimitFilter()
    assert all(limited.filter(record("failed", logging.ERROR)) for _ in range(3))
