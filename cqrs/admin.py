"""The kit's pages, where Django looks for them."""

from cqrs.journal import admin as _journal  # noqa: F401
from cqrs.store import admin as _store  # noqa: F401
