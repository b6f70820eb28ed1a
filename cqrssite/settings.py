"""Django settings. What can be set from the environment is in `cqrssite.environment`, and here as CONTACTS."""

import os
import secrets
import sys

from cqrs import conf
from cqrs.engines.urls import database
from cqrssite.environment import PREFIX, read_environment


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

# Not "daphne": as an app it has every service import Twisted at its start. Our runserver brings it.
INSTALLED_APPS = [
    # Of two commands by one name Django takes the first: runserver of the site's, runwriter of contacts'.
    "cqrssite",
    "contacts_read",
    "contacts_write",
    "database_service",
    "cqrs",
    *CONTACTS.extra_apps,
    "channels",
    "graphene_django",
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
GRAPHENE = {"SCHEMA": "cqrssite.graphql.schema.schema", "SCHEMA_OUTPUT": "cqrssite/graphql/schema.graphql"}

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


# `default`: the gateway's (users, sessions, the journal). `contacts`: the database service's.
DATABASES = {
    "default": database(CONTACTS.journal_url, CONTACTS.var),
    "contacts": database(CONTACTS.database_url, CONTACTS.var),
}
DATABASE_ROUTERS = ["cqrs.databases.Router", "cqrssite.databases.StoreAlone"]
# The kit's settings have the names that the environment gives them, but for the databases.
CQRS = {"JOURNAL": "default", "STORE": "contacts", "SETTING_NAMES": PREFIX + "{}"}
CQRS |= {name: getattr(CONTACTS, name.lower()) for name in conf.NAMES if name not in CQRS}
TEST_RUNNER = "cqrssite.testing_runner.PytestRunner"
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

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime}.{msecs:03.0f} {levelname} {name}: {message}", "datefmt": "%H:%M:%S", "style": "{"}
    },
    "filters": {"rate_limit": {"()": "cqrssite.serving.log_filter.RateLimitFilter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": CONTACTS.log_level},
    # At INFO they say every keepalive, every state and every socket.
    "loggers": {
        "amqtt": {"level": "WARNING"},
        "transitions": {"level": "WARNING"},
        # It logs every malformed request.
        "uvicorn.error": {"level": "WARNING", "filters": ["rate_limit"]},
    },
}
