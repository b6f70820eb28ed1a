"""Settings: what is wrong is named in a sentence, what is not said is found, and what is documented is true."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cqrssite import settings
from cqrssite.environment import BASE_DIR, Environment, read_environment
from cqrssite.management.commands import printsettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no .env of the machine that tests."""
    for name in [name for name in os.environ if name.startswith("CONTACTS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONTACTS_ENV_FILE", "")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CONTACTS_DELAY", "soon", "CONTACTS_DELAY is wrong: it should be a valid number"),
        ("CONTACTS_DELAY", "-1", "CONTACTS_DELAY is wrong: it should be greater than or equal to 0 (it is '-1')"),
        ("CONTACTS_DELAY", "nan", "CONTACTS_DELAY is wrong: it should be a finite number (it is 'nan')"),
        ("CONTACTS_JOURNAL_LIMIT", "0", "CONTACTS_JOURNAL_LIMIT is wrong: it should be greater than or equal to 1"),
        ("CONTACTS_GATEWAY_BIND", "8080", "CONTACTS_GATEWAY_BIND is wrong: must be host:port"),
        ("CONTACTS_GATEWAY_BIND", "", "CONTACTS_GATEWAY_BIND is wrong: must be host:port"),
        ("CONTACTS_BROKER_ADDRESS", "broker:99999", "CONTACTS_BROKER_ADDRESS is wrong: must be host:port"),
        ("CONTACTS_DEBUG", "maybe", "CONTACTS_DEBUG is wrong: it should be a valid boolean"),
        (
            "CONTACTS_LOG_LEVEL",
            "loud",
            "CONTACTS_LOG_LEVEL is wrong: it should be 'DEBUG', 'INFO'",
        ),
        (
            "CONTACTS_KEEP_COMMANDS_DAYS",
            "90",
            "CONTACTS_KEEP_NOTICES_DAYS is wrong: must be more than CONTACTS_KEEP_COMMANDS_DAYS, which is 90 (it is 90",
        ),
        (
            "CONTACTS_KEEP_NOTICES_DAYS",
            "7",
            "CONTACTS_KEEP_NOTICES_DAYS is wrong: must be more than CONTACTS_KEEP_COMMANDS_DAYS, which is 30",
        ),
        (
            "CONTACTS_JOURNAL_URL",
            "mysql://ada:secret@host/name",
            "CONTACTS_JOURNAL_URL is wrong: must be a URL such as",
        ),
        (
            "CONTACTS_DATABASE_URL",
            "postgresql://ada:secret@host/name?sslmod=require",
            "CONTACTS_DATABASE_URL is wrong: has the unknown parameter sslmod",
        ),
        ("CONTACTS_DELY", "3", "CONTACTS_DELY is no setting; did you mean CONTACTS_DELAY?"),
        ("CONTACTS_XYZZY", "3", "CONTACTS_XYZZY is no setting"),
    ],
)
def test_a_wrong_variable_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        read_environment()
    said = str(ended.value.code)
    assert said.startswith(sentence)
    assert "\n" not in said
    assert "secret" not in said


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTACTS_DELAY", "soon")
    monkeypatch.setenv("CONTACTS_DEBUG", "maybe")
    with pytest.raises(SystemExit) as ended:
        read_environment()
    assert [line.split()[0] for line in str(ended.value.code).splitlines()] == ["CONTACTS_DELAY", "CONTACTS_DEBUG"]


def test_a_wrong_value_stops_the_start_without_a_traceback(tmp_path: Path) -> None:
    ended = _manage("check", CONTACTS_VAR=tmp_path, CONTACTS_DELAY="soon")
    assert ended.returncode == 1
    assert ended.stderr.startswith("CONTACTS_DELAY is wrong: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_var_folder_that_cannot_be_made_stops_the_start_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = _manage("check", CONTACTS_VAR=tmp_path / "file" / "var")
    assert ended.returncode == 1
    assert ended.stderr.startswith("CONTACTS_VAR is wrong: cannot make the folder")
    assert len(ended.stderr.splitlines()) == 1


def test_services_are_found_where_they_are_said_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTACTS_READER_BIND", "0.0.0.0:7001")
    monkeypatch.setenv("CONTACTS_DATABASE_BIND", "[::]:7002")
    monkeypatch.setenv("CONTACTS_BROKER_BIND", "10.0.0.7:7003")
    contacts = read_environment()
    assert contacts.reader_address == "127.0.0.1:7001"
    assert contacts.database_read_address == contacts.database_write_address == "[::1]:7002"
    assert contacts.broker_address == "10.0.0.7:7003"


def test_an_address_that_is_given_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTACTS_READER_BIND", "127.0.0.1:7001")
    monkeypatch.setenv("CONTACTS_READER_ADDRESS", "reader.example.org:7009")
    assert read_environment().reader_address == "reader.example.org:7009"


def test_everything_binds_to_this_machine_alone_unless_told_otherwise() -> None:
    contacts = read_environment()
    binds = [contacts.gateway_bind, contacts.reader_bind, contacts.database_bind, contacts.broker_bind]
    assert binds == ["127.0.0.1:8080", "127.0.0.1:9998", "127.0.0.1:8888", "127.0.0.1:1883"]


def test_names_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTACTS_ALLOWED_HOSTS", "one.example.org, two.example.org,")
    assert read_environment().allowed_hosts == ["one.example.org", "two.example.org"]


def test_a_relative_var_folder_is_one_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_environment().var == BASE_DIR / "var"
    monkeypatch.setenv("CONTACTS_VAR", "elsewhere")
    assert read_environment().var == BASE_DIR / "elsewhere"


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("CONTACTS_DELAY=1\nCONTACTS_DEBUG=true\nOTHER=x\n")
    monkeypatch.setenv("CONTACTS_ENV_FILE", str(file))
    monkeypatch.setenv("CONTACTS_DELAY", "2")
    contacts = read_environment()
    assert (contacts.delay, contacts.debug) == (2, True)


def test_a_misspelt_name_in_the_env_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("CONTACTS_DELY=1\n")
    monkeypatch.setenv("CONTACTS_ENV_FILE", str(file))
    with pytest.raises(SystemExit, match="CONTACTS_DELY is no setting; did you mean CONTACTS_DELAY"):
        read_environment()


def test_an_env_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTACTS_ENV_FILE", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="CONTACTS_ENV_FILE is wrong: there is no file"):
        read_environment()


def test_the_var_folder_is_made_also_when_a_secret_key_is_given(tmp_path: Path) -> None:
    environment = os.environ | {"CONTACTS_VAR": str(tmp_path / "a" / "b"), "CONTACTS_SECRET_KEY": "given"}
    subprocess.run([sys.executable, "-c", "import cqrssite.settings"], cwd=BASE_DIR, env=environment, check=True)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_the_secret_key_is_made_once_for_the_owner_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "CONTACTS", Environment(var=tmp_path))
    key = settings._secret_key()
    assert len(key) >= 50
    assert settings._secret_key() == key
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600


def test_a_key_made_meanwhile_by_another_process_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "CONTACTS", Environment(var=tmp_path))
    link = os.link

    def late_link(source: Any, target: Any) -> None:
        Path(target).write_text("the other's key")
        link(source, target)

    monkeypatch.setattr(os, "link", late_link)
    assert settings._secret_key() == "the other's key"


def test_the_example_of_an_environment_file_is_current_and_leaves_all_at_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    example = (BASE_DIR / ".env.example").read_text()
    assert example == printsettings.env_file()
    file = tmp_path / ".env"
    file.write_text(example.replace("\n#CONTACTS_", "\nCONTACTS_"))
    defaults = read_environment()
    monkeypatch.setenv("CONTACTS_ENV_FILE", str(file))
    assert read_environment() == defaults.model_copy(update={"env_file": str(file)})


def test_every_setting_is_described() -> None:
    assert all(description for _, _, description in printsettings.settings())


def test_a_stale_example_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(printsettings, "BASE_DIR", tmp_path)
    (tmp_path / ".env.example").write_text(printsettings.env_file())
    (tmp_path / "README.md").write_text(f"# Settings\n\n{printsettings.table()}\nEnd.\n")
    call_command("printsettings", check=True)
    (tmp_path / ".env.example").write_text("CONTACTS_DELAY=4\n")
    with pytest.raises(CommandError, match="not current"):
        call_command("printsettings", check=True)


def _manage(*arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    command = [sys.executable, str(BASE_DIR / "manage.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
