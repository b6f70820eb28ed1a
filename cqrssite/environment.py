"""What can be set from the environment; the only reader of it.

Every variable is a field of `Environment`, prefixed CONTACTS_. What the environment does not say is looked up in the
file `.env` of the project folder.
A wrong value, or a name that is no setting, stops the start with one sentence that names it.
"""

import difflib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cqrs import conf
from cqrs.engines.urls import database

BASE_DIR = Path(__file__).resolve().parent.parent
PREFIX = "CONTACTS_"


def _checked_bind(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 <= int(port) <= 65535):
        raise ValueError("must be host:port, for example 127.0.0.1:8080")
    return value


def _checked_address(value: str) -> str:
    return _checked_bind(value) if value else value


def _reachable(bind: str) -> str:
    """Where this machine reaches what listens on `bind`."""
    host, _, port = bind.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def _checked_url(url: str) -> str:
    database(url, Path())
    return url


def _in_project(path: Path) -> Path:
    return BASE_DIR / path


Bind = Annotated[str, AfterValidator(_checked_bind)]
Address = Annotated[str, AfterValidator(_checked_address)]
Url = Annotated[str, AfterValidator(_checked_url)]


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Environment(BaseSettings):
    """What can be set. The descriptions are those of README and .env.example."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    # Read by `read_environment` before all others.
    env_file: str = Field(".env", description="file that is asked for what the environment does not say; empty: none")

    gateway_bind: Bind = Field("127.0.0.1:8080", description="where the gateway listens")
    gateways: int = Field(
        1,
        ge=1,
        le=conf.MAX_GATEWAYS,
        description="gateway processes that runstack starts, all at CONTACTS_GATEWAY_BIND",
    )
    reader_bind: Bind = Field("127.0.0.1:9998", description="where the reader listens")
    database_bind: Bind = Field("127.0.0.1:8888", description="where the database service listens")
    broker_bind: Bind = Field("127.0.0.1:1883", description="where the broker listens")

    reader_address: Address = Field(
        "", description="where the gateway finds the reader; empty: as CONTACTS_READER_BIND says"
    )
    database_read_address: Address = Field(
        "", description="where the reader finds the database service; empty: as CONTACTS_DATABASE_BIND says"
    )
    database_write_address: Address = Field(
        "", description="where the writer finds the database service; empty: as CONTACTS_DATABASE_BIND says"
    )
    broker_address: Address = Field(
        "", description="where gateway and writer find the broker; empty: as CONTACTS_BROKER_BIND says"
    )

    delay: float = Field(
        3.0,
        ge=0,
        le=86400,
        allow_inf_nan=False,
        description="seconds from acceptance to commit; the same for all processes",
    )
    single_messages: bool = Field(
        False,
        description="one command a message, on the contract's topics, never sent again on silence (foreign writers)",
    )
    journal_limit: int = Field(
        200_000, ge=1, description="commands that may be unsettled; beyond, mutations are refused"
    )
    writer_limit: int = Field(
        200_000, ge=1, description="commands the writer holds; beyond, it leaves them to be sent again"
    )
    keep_commands_days: float = Field(
        30,
        gt=0,
        le=36500,
        allow_inf_nan=False,
        description="days settled commands are kept, and idempotency keys with them",
    )
    keep_notices_days: float = Field(
        90,
        gt=0,
        le=36500,
        allow_inf_nan=False,
        validate_default=True,
        description="days notices are kept, longer than commands, so that whatever is sent again is known",
    )

    read_token: str = Field("", description="token the read services ask for and their clients send; empty: none")
    write_token: str = Field("", description="token the write service asks for and the writer sends; empty: none")
    mqtt_username: str = Field("", description="user at the broker; empty: anonymous")
    mqtt_password: str = Field("", description="password at the broker")

    # A relative path is one of the project folder, wherever the command was started.
    var: Annotated[Path, AfterValidator(_in_project)] = Field(
        Path("var"), validate_default=True, description="folder of the embedded databases and the secret key"
    )
    journal_url: Url = Field(
        "sqlite:///gateway.sqlite3",
        description="the gateways' database, with the journal: `sqlite:///file in the var folder` or"
        " `postgresql://user:password@host:port/name?sslmode=...`",
    )
    database_url: Url = Field(
        "sqlite:///contacts.sqlite3",
        description="the database service's database, by such a URL; it may be the same PostgreSQL database",
    )
    extra_apps: Names = Field([], description="Django apps that declare further aggregates, separated by commas")
    secret_key: str = Field("", description="Django's secret key; empty: made once and kept in the var folder")
    debug: bool = Field(False, description="Django's debug mode")
    allowed_hosts: Names = Field(
        ["localhost", "127.0.0.1", "[::1]"], description="host names the gateway answers to, separated by commas"
    )
    allowed_origins: Names = Field(
        [], description="origins besides its own whose pages may use the gateway, for example https://app.example.org"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("keep_notices_days")
    @classmethod
    def _outlives_the_journal(cls, days: float, info: ValidationInfo) -> float:
        commands = info.data.get("keep_commands_days", 0)
        if days <= commands:
            raise ValueError(f"must be more than {PREFIX}KEEP_COMMANDS_DAYS, which is {commands:g}")
        return days

    @model_validator(mode="after")
    def _find_what_is_not_said(self) -> Self:
        self.reader_address = self.reader_address or _reachable(self.reader_bind)
        self.database_read_address = self.database_read_address or _reachable(self.database_bind)
        self.database_write_address = self.database_write_address or _reachable(self.database_bind)
        self.broker_address = self.broker_address or _reachable(self.broker_bind)
        return self


def read_environment() -> Environment:
    """The settings; ends the process with a sentence for each wrong value and each name that is no setting."""
    file = _environment_file()
    try:
        environment = Environment(_env_file=file)  # type: ignore[call-arg]
    except ValidationError as error:
        sys.exit("\n".join(_sentence(PREFIX + str(wrong["loc"][0]).upper(), wrong) for wrong in error.errors()))
    # A misspelt name would leave its setting at the default, and the delay of two processes different.
    known = [PREFIX + field.upper() for field in Environment.model_fields]
    given = {*os.environ, *(dotenv_values(file) if file else ())}
    if unknown := sorted(name for name in given if name.startswith(PREFIX) and name not in known):
        sys.exit("\n".join(f"{name} is no setting{_suggestion(name, known)}" for name in unknown))
    return environment


def _environment_file() -> Path | None:
    usual: str = Environment.model_fields["env_file"].default
    given = os.environ.get(f"{PREFIX}ENV_FILE", usual)
    if not given:
        return None
    file = BASE_DIR / given
    if given != usual and not file.is_file():
        sys.exit(f"{PREFIX}ENV_FILE is wrong: there is no file {file}")
    return file


def _sentence(name: str, wrong: Any) -> str:
    what = wrong["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    # A URL may hold a password.
    shown = "" if name.endswith("_URL") else f" (it is {wrong['input']!r})"
    return f"{name} is wrong: {what}{shown}"


def _suggestion(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
