"""The wheel, and a project that installs it."""

from pathlib import Path

import pytest

from tests.package.project import Project, build_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the migrations of its aggregate, and no table yet."""
    project = Project(tmp_path_factory.mktemp("project"), wheel)
    project.manage("makemigrations", "notes")
    return project
