"""Django settings, and the only reader of the environment.

Every variable is a field of `Environment`, prefixed CONTACTS_. What the environment does not say is looked up in the
file `.env` of the project folder.
A wrong value, or a name that is no setting, stops the start with one sentence that names it.
"""

import difflib
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

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


def _in_project(path: Path) -> Path:
    return BASE_DIR / path


Bind = Annotated[str, AfterValidator(_checked_bind)]
Address = Annotated[str, AfterValidator(_checked_address)]


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Environment(BaseSettings):
    """What can be set. The descriptions are those of README and .env.example."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    # Read by `read_environment` before all others.
    env_file: str = Field(".env", description="file that is asked for what the environment does not say; empty: none")

    gateway_bind: Bind = Field("127.0.0.1:8080", description="where the gateway listens")
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

    read_token: str = Field("", description="token the read services ask for and their clients send; empty: none")
    write_token: str = Field("", description="token the write service asks for and the writer sends; empty: none")
    mqtt_username: str = Field("", description="user at the broker; empty: anonymous")
    mqtt_password: str = Field("", description="password at the broker")

    # A relative path is one of the project folder, wherever the command was started.
    var: Annotated[Path, AfterValidator(_in_project)] = Field(
        Path("var"), validate_default=True, description="folder of the embedded databases and the secret key"
    )
    secret_key: str = Field("", description="Django's secret key; empty: made once and kept in the var folder")
    debug: bool = Field(False, description="Django's debug mode")
    allowed_hosts: Names = Field(
        ["localhost", "127.0.0.1", "[::1]"], description="host names the gateway answers to, separated by commas"
    )
    allowed_origins: Names = Field(
        [], description="origins besides its own whose pages may use the gateway, for example https://app.example.org"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

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
    given = os.environ.get(f"{PREFIX}ENV_FILE")
    if given == "":
        return None
    file = BASE_DIR / (given or Environment.model_fields["env_file"].default)
    if given and not file.is_file():
        sys.exit(f"{PREFIX}ENV_FILE is wrong: there is no file {file}")
    return file


def _sentence(name: str, wrong: Any) -> str:
    what = wrong["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{name} is wrong: {what} (it is {wrong['input']!r})"


def _suggestion(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _make_var_folder() -> None:
    try:
        CONTACTS.var.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"CONTACTS_VAR is wrong: cannot make the folder {CONTACTS.var}: {error.strerror}")


def _secret_key() -> str:
    """The key given, or one made once and kept readable to the owner alone."""
    if CONTACTS.secret_key:
        return CONTACTS.secret_key
    path = CONTACTS.var / "secret-key"
    if not path.exists():
        # Linked into place whole: of processes that start at once each must read the same, complete key.
        draft = path.with_name(f"secret-key.{os.getpid()}")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(50))
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError as error:
            sys.exit(f"CONTACTS_VAR is wrong: cannot write {path}: {error.strerror}")
        finally:
            draft.unlink(missing_ok=True)
    return path.read_text()


CONTACTS = read_environment()
_make_var_folder()

# gRPC says on stderr, past our logging, what its callers are told by an error. It is read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

SECRET_KEY = _secret_key()
DEBUG = CONTACTS.debug
ALLOWED_HOSTS = CONTACTS.allowed_hosts
CSRF_TRUSTED_ORIGINS = CONTACTS.allowed_origins

# Channels and daphne need not be apps; as such they would have every service import Twisted at its start.
INSTALLED_APPS = [
    # Before staticfiles: of two commands by one name (runserver) Django takes the first.
    "cqrssite",
    "contacts_read",
    "contacts_write",
    "database_service",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "cqrssite.urls"
ASGI_APPLICATION = "cqrssite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _sqlite(name: str) -> dict[str, Any]:
    """A SQLite database that many processes share and that a power cut does not undo."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": CONTACTS.var / f"{name}.sqlite3",
        "OPTIONS": {
            "timeout": 10,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }


# `default`: the gateway's (users, sessions, the journal). `contacts`: the database service's.
DATABASES = {"default": _sqlite("gateway"), "contacts": _sqlite("contacts")}
DATABASE_ROUTERS = ["cqrssite.router.SideRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
STATICFILES_DIRS = [BASE_DIR / "cqrssite" / "web" / "static"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime}.{msecs:03.0f} {levelname} {name}: {message}", "datefmt": "%H:%M:%S", "style": "{"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": CONTACTS.log_level},
    # At INFO they say every keepalive, every state and every socket.
    "loggers": {name: {"level": "WARNING"} for name in ("amqtt", "transitions", "uvicorn.error")},
}
