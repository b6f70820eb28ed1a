"""The router: the journal's rows, the store's, and nothing else."""

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models, router

from cqrs.databases import Router
from cqrs.journal.models import Command
from cqrs.store.models import Notice
from database_service.models import Contact

KIT = {"cqrs_command", "notice", "contact"}


@pytest.mark.parametrize(("model", "alias"), [(Command, "default"), (Notice, "contacts"), (Contact, "contacts")])
def test_each_model_of_the_kit_and_of_an_aggregate_has_its_database(model: type[models.Model], alias: str) -> None:
    assert router.db_for_read(model) == router.db_for_write(model) == alias
    label = model._meta.app_label, model._meta.model_name
    assert [db for db in ("default", "contacts") if router.allow_migrate(db, label[0], model_name=label[1])] == [alias]


def test_the_router_says_nothing_about_other_models() -> None:
    assert Router().db_for_read(User) is None
    assert Router().allow_migrate("contacts", "auth", "user") is None
    assert Router().allow_migrate("contacts", "cqrs", "a_model_that_is_no_more") is None


def test_a_proxy_is_where_its_model_is() -> None:
    class Seen(Notice):
        class Meta:
            proxy = True
            app_label = "cqrs"

    assert Router().db_for_read(Seen) == "contacts"


def test_the_site_keeps_all_else_out_of_the_store() -> None:
    assert not router.allow_migrate("contacts", "auth", model_name="user")
    assert not router.allow_migrate("contacts", "auth")
    assert router.allow_migrate("default", "auth", model_name="user")


def test_on_one_database_nothing_is_kept_out(settings: Any) -> None:
    settings.CQRS = {}
    for model in (Command, Notice, Contact, User):
        assert router.db_for_write(model) == "default"
        assert router.allow_migrate("default", model._meta.app_label, model_name=model._meta.model_name)


@pytest.mark.parametrize(
    ("journal", "store", "tables"),
    [
        ("default", "default", {"default": {*KIT, "auth_user"}}),
        ("default", "b", {"default": {"cqrs_command", "auth_user"}, "b": {"notice", "contact"}}),
        ("b", "b", {"default": {"auth_user"}, "b": KIT}),
    ],
)
def test_migrate_makes_all_tables_where_they_belong(
    journal: str, store: str, tables: dict[str, set[str]], tmp_path: Path
) -> None:
    databases = {
        name: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / name)} for name in ("default", "b")
    }
    program = f"""
        from django.conf import settings
        settings.configure(
            INSTALLED_APPS=["cqrs", "database_service", "django.contrib.auth", "django.contrib.contenttypes"],
            DATABASES={databases!r},
            DATABASE_ROUTERS=["cqrs.databases.Router"],
            CQRS={{"JOURNAL": {journal!r}, "STORE": {store!r}}},
            USE_TZ=True,
        )
        import django
        from django.core.management import call_command
        django.setup()
        for database in {list(tables)!r}:
            call_command("migrate", database=database, verbosity=0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
    for database, wanted in tables.items():
        with sqlite3.connect(tmp_path / database) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        connection.close()
        assert found & KIT == wanted & KIT
        assert wanted <= found
