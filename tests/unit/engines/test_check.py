"""A service starts on a database that it can work on, and else says why not in a sentence."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections

from cqrs import engines
from cqrs.engines import Engine, engine_of
from cqrs.store.database import ALIAS
from cqrs.transport.process import StartError
from tests.support.postgresql import cluster
from tests.support.processes import ROOT

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", ALIAS])


def manage(*arguments: str, var: Path, url: str = "") -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTS_")}
    environment |= {"CONTACTS_ENV_FILE": "", "CONTACTS_VAR": str(var)}
    if url:
        environment |= {"CONTACTS_JOURNAL_URL": url, "CONTACTS_DATABASE_URL": url}
    command = [sys.executable, "manage.py", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=pipe, stderr=subprocess.STDOUT)


def ended(process: "subprocess.Popen[str]") -> str:
    """What it said; it has to end well."""
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0, said
    return said


def test_a_migrated_database_is_as_it_should_be(engine: Engine) -> None:
    engine.check("contacts", ["cqrs", "database_service"])
    engine_of("default").check("gateway's")


def test_another_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "connections", {"other": SimpleNamespace(vendor="mysql")})
    with pytest.raises(StartError, match=r"'other' is on mysql: commands need SQLite, or PostgreSQL 15 or later"):
        engine_of("other")


def test_a_table_that_is_missing_though_its_migration_is_recorded_is_named(engine: Engine) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("ALTER TABLE parked_command RENAME TO elsewhere")
        try:
            with pytest.raises(StartError, match=r"lacks tables that its migrations made \(parked_command\)"):
                engine.check("contacts", ["cqrs", "database_service"])
        finally:
            cursor.execute("ALTER TABLE elsewhere RENAME TO parked_command")


@pytest.mark.usefixtures("_postgresql")
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_another_isolation_level_is_refused(engine: Engine, level: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
        try:
            with pytest.raises(StartError, match=f"has the isolation level {level}: READ COMMITTED is needed"):
                engine.check("contacts")
        finally:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED")


@pytest.mark.usefixtures("_postgresql")
def test_an_older_server_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections[ALIAS].__dict__, "pg_version", 140_011)
    with pytest.raises(StartError, match="is PostgreSQL 14: 15 or later is needed"):
        engine.check("contacts")


def test_a_sqlite_database_whose_writers_would_deadlock_is_refused(engine: Engine) -> None:
    connection: Any = connections[ALIAS]
    if connection.vendor != "sqlite":
        pytest.skip("speaks of SQLite alone")
    mode = connection.settings_dict["OPTIONS"].pop("transaction_mode")
    try:
        with pytest.raises(StartError, match=r"needs OPTIONS\['transaction_mode'\] = 'IMMEDIATE'"):
            engine.check("contacts")
    finally:
        connection.settings_dict["OPTIONS"]["transaction_mode"] = mode


def test_several_that_migrate_an_empty_database_at_once_all_succeed(engine: Engine, tmp_path: Path) -> None:
    """On PostgreSQL with one URL for both: it holds the tables of both sides, and one record of migrations."""
    url = cluster().create_database() if connections[ALIAS].vendor == "postgresql" else ""
    several = [manage("migrate", "--verbosity", "0", var=tmp_path, url=url) for _ in range(3)]
    for process in several:
        ended(process)
    ended(manage("migrate", "--database", "contacts", "--verbosity", "0", var=tmp_path, url=url))
    code = (
        "from cqrs.engines import engine_of; "
        "engine_of('default').check('first'); engine_of('contacts').check('second'); "
        "from cqrs.journal.models import Command; from cqrs.store.models import Notice; "
        "print(Command.objects.count(), Notice.objects.count())"
    )
    assert ended(manage("shell", "--no-imports", "-c", code, var=tmp_path, url=url)).strip() == "0 0"
