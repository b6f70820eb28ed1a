"""A team's project: the wheel installed, an aggregate of its own declared, nothing of contacts."""

import sqlite3
from pathlib import Path

from tests.package.project import Project

JOURNAL = {"cqrs_command"}
STORE = {"notice", "parked_command", "database_identity", "notes_note"}


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return found


def test_the_kit_comes_from_the_wheel(project: Project) -> None:
    assert Path(project.shell("import cqrs; print(cqrs.__file__)")).is_relative_to(project.environment)


def test_migrate_makes_the_tables_of_the_kit_and_of_the_aggregate_beside_the_projects_own(project: Project) -> None:
    assert tables(project.folder / "shop.sqlite3") >= JOURNAL | STORE | {"auth_user"}
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run")


def test_the_aggregate_is_found_with_its_verbs_and_cleans_their_arguments(project: Project) -> None:
    assert project.shell(
        """
        from cqrs.aggregate import registry, verb_of
        from notes.messages_pb2 import WriteNote
        print(sorted(registry()), sorted(registry()["note"].verbs))
        wanted = WriteNote(text="  milk ")
        print(verb_of("note.write").clean(wanted), repr(wanted.text), verb_of("note.write").clean(WriteNote()) is None)
        """
    ).splitlines() == ["['note'] ['remove', 'rewrite', 'write']", "None 'milk' False"]


def test_the_admin_shows_the_kits_pages_and_none_of_contacts(project: Project) -> None:
    assert project.shell(
        """
        import sys
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.test import Client
        settings.ALLOWED_HOSTS = ["testserver"]
        client = Client()
        client.force_login(User.objects.create_superuser("ada"))
        page = client.get("/admin/cqrs/command/")
        print(page.status_code, "Commands and notices" in page.text)
        print(sorted({"contacts_write", "contacts_read", "database_service"} & set(sys.modules)))
        """
    ).splitlines() == ["200 True", "[]"]


def test_a_wrong_setting_stops_the_start_with_a_sentence(project: Project) -> None:
    settings = project.folder / "shop" / "settings.py"
    before = settings.read_text()
    project.settings(CQRS='{"DELEY": 1}')
    try:
        said = project.manage("check", check=False)
    finally:
        settings.write_text(before)
    assert 'CQRS["DELEY"] is no setting; did you mean DELAY?' in said


def test_journal_and_store_may_have_databases_of_their_own(project: Project) -> None:
    settings = project.folder / "shop" / "settings.py"
    before = settings.read_text()
    project.settings(
        DATABASES='DATABASES | {name: DATABASES["default"] | {"NAME": BASE_DIR / name} for name in ("j", "s")}',
        DATABASE_ROUTERS='["cqrs.databases.Router"]',
        CQRS='{"JOURNAL": "j", "STORE": "s"}',
    )
    try:
        for database in ("j", "s"):
            project.manage("migrate", "--verbosity", "0", "--database", database)
    finally:
        settings.write_text(before)
    assert tables(project.folder / "j") >= JOURNAL
    assert not tables(project.folder / "j") & STORE
    assert tables(project.folder / "s") >= STORE
    assert not tables(project.folder / "s") & JOURNAL


def test_a_command_from_python_loads_neither_grpc_nor_an_mqtt_client(project: Project) -> None:
    said = project.shell(
        """
        from cqrs.functions import write_note
        write_note("light")
        import sys
        print(sorted({"grpc", "uvloop", "aiomqtt", "paho"} & set(sys.modules)))
        """
    )
    assert said == "[]"
