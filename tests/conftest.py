"""What all tests rest on."""

import contextlib
from pathlib import Path

import pytest
from django.db import connections

from cqrs.engines.urls import database
from tests.support.postgresql import cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine", choices=["sqlite", "postgresql"], default="sqlite", help="where the tests' databases are"
    )


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite's databases are files in a folder of this run, as in production: in memory SQLite has no WAL."""
    folder = tmp_path_factory.mktemp("databases")
    for alias, settings in connections.databases.items():
        # A test may ask for one of the two alone.
        settings["TEST"] |= {"DEPENDENCIES": []}
        if request.config.getoption("--engine") == "postgresql":
            settings |= database(cluster().url(alias), Path())
        else:
            settings["TEST"] |= {"NAME": str(folder / f"{alias}.sqlite3")}
        with contextlib.suppress(AttributeError):
            # Of the engine that the settings named.
            del connections[alias]


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest) -> bool:
    """On PostgreSQL the databases end with the server of this run: dropping them fails while any thread is connected."""
    return bool(request.config.getoption("--reuse-db")) or request.config.getoption("--engine") == "postgresql"
