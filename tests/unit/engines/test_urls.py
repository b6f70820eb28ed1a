"""Databases by URL: files below the folder, servers with their credentials, and no password in a complaint."""

from pathlib import Path

import pytest

from cqrs.engines.urls import database

VAR = Path("/srv/var")


def test_a_file_is_taken_from_the_folder_unless_it_says_where_it_is() -> None:
    assert database("sqlite:///contacts.sqlite3", VAR)["NAME"] == VAR / "contacts.sqlite3"
    assert database("sqlite:////data/contacts.sqlite3", VAR)["NAME"] == Path("/data/contacts.sqlite3")
    assert database("sqlite:///a%20b.sqlite3", VAR)["NAME"] == VAR / "a b.sqlite3"


def test_a_server_is_found_with_its_credentials_and_parameters() -> None:
    settings = database("postgresql://ada:p%40ss%2Fword@db.example.org:5433/ring?sslmode=require", VAR)
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert [settings[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")] == [
        "ada",
        "p@ss/word",
        "db.example.org",
        "5433",
        "ring",
    ]
    assert settings["OPTIONS"]["sslmode"] == "require"
    assert "jit=off" in settings["OPTIONS"]["options"]


def test_what_is_not_said_of_a_server_is_left_to_the_driver() -> None:
    settings = database("postgresql:///ring", VAR)
    assert [settings[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")] == ["", "", "", "", "ring"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "contacts.sqlite3",
        "sqlite:///",
        "sqlite://contacts.sqlite3",
        "sqlite:///contacts.sqlite3?mode=ro",
        "mysql://ada:secret@host/ring",
        "postgresql://ada:secret@host:port/ring",
        "postgresql://ada:secret@host",
        "postgresql://ada:secret@host/ring/more",
        "postgresql://ada:secret@host/ring#secret",
        "postgresql://ada:secret@host/ring?ssl",
        "postgresql://ada:secret@host/ring?sslmod=require",
        "postgresql://[secret/ring",
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be a URL such as|has the unknown parameter sslmod:") as refused:
        database(url, VAR)
    assert "secret" not in str(refused.value)
