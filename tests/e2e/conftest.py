"""Marks what stands here, and shows what the processes said when a test fails."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Client
from tests.support.processes import Stack, logs_of_open_stacks

HERE = Path(__file__).resolve().parent

# It says every request.
logging.getLogger("httpx").setLevel(logging.WARNING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        report.sections.extend((f"log of {name}", log) for name, log in logs_of_open_stacks())
    return report


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """A client of the module's stack."""
    async with Client(stack.url) as client:
        yield client
