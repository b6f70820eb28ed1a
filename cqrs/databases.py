"""Which database the kit's rows are in: `DATABASE_ROUTERS = ["cqrs.databases.Router"]`.

The journal is in CQRS["JOURNAL"]; notices, parked commands and the rows of aggregates are in CQRS["STORE"]. Both may be
one database. About all other models the router says nothing.
"""

import functools
from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models

from cqrs import conf
from cqrs.aggregate import registry

# What tells one database of Django's settings from another.
_PLACE = ("ENGINE", "HOST", "PORT", "NAME")


def store_models() -> frozenset[str]:
    """The labels ("notes.note") of the models whose rows the store owns: the kit's own, and those of aggregates."""
    return frozenset(label for label, is_of_the_store in _models().items() if is_of_the_store)


def are_one() -> bool:
    """Whether journal and store are in one database, be it by two names. Its record of migrations is of both then."""
    journal, store = (settings.DATABASES[alias] for alias in (conf.current().journal, conf.current().store))
    return all(journal.get(key) == store.get(key) for key in _PLACE)


class Router:
    """Routes each model of the kit, and of an aggregate, to its database; it is migrated there alone."""

    def db_for_read(self, model: type[models.Model], **_hints: Any) -> str | None:
        # A proxy is where its model is.
        return _alias((model._meta.concrete_model or model)._meta.label_lower)

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_hints: Any) -> bool | None:
        alias = _alias(f"{app_label}.{model_name}")
        return (
            None
            if alias is None
            else db == alias or (are_one() and db in (conf.current().journal, conf.current().store))
        )


def _alias(label: str) -> str | None:
    is_of_the_store = _models().get(label)
    if is_of_the_store is None:
        return None
    return conf.current().store if is_of_the_store else conf.current().journal


@functools.cache
def _models() -> Mapping[str, bool]:
    """By label, whether the store owns the rows; of the kit's models and of aggregates'."""
    own = {
        model._meta.label_lower: model.__module__.startswith("cqrs.store.")
        for model in apps.get_app_config("cqrs").get_models()
    }
    return own | {declared.store.model._meta.label_lower: True for declared in registry().values()}
