"""A team's project: the wheel installed, an aggregate of its own declared, nothing of contacts."""

import sqlite3
from pathlib import Path

import pytest

from tests.package.project import Project

JOURNAL = {"cqrs_command"}
STORE = {"notice", "parked_command", "database_identity", "notes_note"}


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return found


@pytest.fixture(scope="module")
def migrated(project: Project) -> Project:
    project.manage("migrate", "--verbosity", "0")
    return project


def test_the_kit_comes_from_the_wheel(project: Project) -> None:
    assert Path(project.shell("import cqrs; print(cqrs.__file__)")).is_relative_to(project.environment)


def test_migrate_makes_the_tables_of_the_kit_and_of_the_aggregate_beside_the_projects_own(migrated: Project) -> None:
    assert tables(migrated.folder / "db.sqlite3") >= JOURNAL | STORE | {"auth_user"}
    assert "No changes detected" in migrated.manage("makemigrations", "--check", "--dry-run")


def test_the_aggregate_is_found_with_its_verbs_and_cleans_their_arguments(migrated: Project) -> None:
    assert migrated.shell(
        """
        from cqrs.aggregate import registry, verb_of
        from notes.messages_pb2 import WriteNote
        print(sorted(registry()), sorted(registry()["note"].verbs))
        wanted = WriteNote(text="  milk ")
        print(verb_of("note.write").clean(wanted), repr(wanted.text), verb_of("note.write").clean(WriteNote()) is None)
        """
    ).splitlines() == ["['note'] ['forget', 'write']", "None 'milk' False"]


def test_the_rows_of_the_aggregate_are_written_and_read_by_its_declaration(migrated: Project) -> None:
    assert migrated.shell(
        """
        from cqrs.aggregate import Stored, registry
        from cqrs.store.database import cursor
        from notes.messages_pb2 import Note
        store = registry()["note"].store
        with cursor() as on:
            store.save(on, {}, {"n1": Stored(Note(id="n1", text="milk", version=1), 1)})
            (note,) = map(Note.FromString, store.first(on, 10))
        print(note.id, note.text, note.version, note.HasField("stars"))
        """
    ).splitlines() == ["n1 milk 1 False"]


def test_the_projects_own_pages_go_on_working_and_the_admin_shows_the_kits(migrated: Project) -> None:
    assert migrated.shell(
        """
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.test import Client
        settings.ALLOWED_HOSTS = ["testserver"]
        client = Client()
        client.force_login(User.objects.create_superuser("ada"))
        page = client.get("/admin/cqrs/command/")
        print(page.status_code, "Commands and notices" in page.text)
        """
    ).splitlines() == ["200 True"]


def test_a_wrong_setting_stops_the_start_with_a_sentence(migrated: Project) -> None:
    migrated.settings(CQRS='{"DELEY": 1}')
    try:
        said = migrated.manage("check", check=False)
    finally:
        migrated.settings(CQRS="{}")
    assert 'CQRS["DELEY"] is no setting; did you mean DELAY?' in said


def test_journal_and_store_may_have_databases_of_their_own(project: Project) -> None:
    project.settings(
        DATABASES='DATABASES | {name: DATABASES["default"] | {"NAME": BASE_DIR / name} for name in ("j", "s")}',
        CQRS='{"JOURNAL": "j", "STORE": "s"}',
    )
    try:
        for database in ("j", "s"):
            project.manage("migrate", "--verbosity", "0", "--database", database)
    finally:
        project.settings(CQRS="{}")
    assert tables(project.folder / "j") >= JOURNAL
    assert not tables(project.folder / "j") & STORE
    assert tables(project.folder / "s") >= STORE
    assert not tables(project.folder / "s") & JOURNAL


def test_a_command_is_accepted_from_python_and_takes_effect_on_one_database(migrated: Project) -> None:
    said = migrated.shell(
        """
        from cqrs.journal.api import cancel_command, submit, taking_effect
        from cqrs.journal.models import Command
        from cqrs.store.apply import apply
        from notes.models import Note
        with taking_effect(lambda commands: apply(commands).notices):
            accepted = submit("note.write", text="  tea ", stars=3)
            note = Note.objects.get(pk=accepted.aggregate_id)
            print(note.text, note.stars, note.version, Command.objects.get(command_id=accepted.command_id).state)
            submit("note.forget", accepted.aggregate_id)
        print(Note.objects.filter(pk=accepted.aggregate_id).exists())
        queued = submit("note.write", text="later")
        print(Command.objects.get(command_id=queued.command_id).state, Note.objects.filter(text="later").exists())
        import sys
        print(sorted({"grpc", "uvloop", "aiomqtt", "paho"} & set(sys.modules)))
        """
    )
    assert said.splitlines() == ["tea 3 1 APPLIED", "False", "QUEUED False", "[]"]
