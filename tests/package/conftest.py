"""The wheel, and a project that installs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.page import Reader, blocks
from tests.package.project import Project, build_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def reader(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A project made by following docs/your-own-aggregate.md to its end; what the page starts goes on running."""
    reader = Reader(Project(tmp_path_factory.mktemp("followed"), wheel))
    try:
        for block in blocks():
            reader.follow(block)
        yield reader
    finally:
        reader.close()


@pytest.fixture(scope="session")
def project(reader: Reader) -> Project:
    return reader.project
