"""Keeps the two databases apart: what the database service owns lives in `contacts`, all else in `default`."""

import functools
from typing import Any

from django.apps import apps
from django.db import models

from cqrs.aggregate import registry

DATABASE = "contacts"


def is_of_the_store(model: type[models.Model]) -> bool:
    """Whether the database service owns the rows."""
    return model.__module__.startswith("cqrs.store.") or model._meta.app_label in _labels()


@functools.cache
def _labels() -> frozenset[str]:
    """The apps that declare aggregates."""
    return frozenset(each.store.model._meta.app_label for each in registry().values())


class SideRouter:
    """Routes each model to the database of its side; each migrates only its own."""

    def db_for_read(self, model: type[models.Model], **_hints: Any) -> str | None:
        return DATABASE if is_of_the_store(model) else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_hints: Any) -> bool | None:
        if app_label in _labels():
            return db == DATABASE
        if app_label == "cqrs" and model_name is not None:
            return (db == DATABASE) == is_of_the_store(apps.get_model(app_label, model_name))
        return None if app_label == "cqrs" else db != DATABASE
