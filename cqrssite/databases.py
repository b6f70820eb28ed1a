"""Keeps the two databases apart: what the database service owns lives in `contacts`, all else in `default`.

Where both are one database, it holds all, and migrating either makes all.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models

DATABASE = "contacts"
# What tells one database of Django's settings from another.
_PLACE = ("ENGINE", "HOST", "PORT", "NAME")


def is_of_the_store(model: type[models.Model]) -> bool:
    """Whether the database service owns the rows."""
    return model.__module__.startswith(("cqrs.store.", "database_service."))


def is_one() -> bool:
    """Whether both are the same database, and its record of migrations is of both."""
    one, other = ([settings.DATABASES[alias][key] for key in _PLACE] for alias in ("default", DATABASE))
    return one == other


class SideRouter:
    """Routes each model to the database of its side; each migrates only its own."""

    def db_for_read(self, model: type[models.Model], **_hints: Any) -> str | None:
        return DATABASE if is_of_the_store(model) else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_hints: Any) -> bool | None:
        if is_one():
            return True
        if app_label == "database_service":
            return db == DATABASE
        if app_label == "cqrs" and model_name is not None:
            return (db == DATABASE) == is_of_the_store(apps.get_model(app_label, model_name))
        return None if app_label == "cqrs" else db != DATABASE
