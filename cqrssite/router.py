"""Keeps the two databases apart: what the database service owns lives in `contacts`, all else in `default`."""

from typing import Any

from django.db import models

DATABASE = "contacts"
_APP = "database_service"


class SideRouter:
    """Routes each model to the database of its side; each migrates only its own."""

    def db_for_read(self, model: type[models.Model], **_hints: Any) -> str | None:
        return DATABASE if model._meta.app_label == _APP else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_hints: Any) -> bool:
        return (db == DATABASE) == (app_label == _APP)
