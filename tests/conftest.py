"""What all tests rest on."""

import pytest
from django.db import connections


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Databases are files in a folder of this run, as in production: in memory SQLite has no WAL."""
    folder = tmp_path_factory.mktemp("databases")
    for alias, settings in connections.databases.items():
        # A test may ask for one of the two alone.
        settings["TEST"] |= {"NAME": str(folder / f"{alias}.sqlite3"), "DEPENDENCIES": []}
