"""Keeps the store's database to what the store owns: users, sessions and all else are the gateway's alone."""

from typing import Any

from cqrs import conf
from cqrs.databases import are_one, store_models


class StoreAlone:
    """Stands behind the kit's router: nothing else is migrated in the store's database, where it has one of its own."""

    def allow_migrate(self, db: str, app_label: str, **_hints: Any) -> bool | None:
        own = conf.current()
        if db != own.store or are_one():
            return None
        return None if app_label in {label.partition(".")[0] for label in store_models()} else False
