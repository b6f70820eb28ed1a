"""The aggregates that the store's tests run for, in words that all of them understand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps

from cqrs.aggregate import Aggregate, registry
from protocol.cqrs_command_pb2 import Command
from tests.support.envelopes import command

NOTE_APP = "tests.aggregates.note"


@dataclass(frozen=True)
class Subject:
    """An aggregate of which one field is a text: how its commands are made, and the text in its state."""

    name: str
    verbs: tuple[str, str, str]
    field: str

    @property
    def declared(self) -> Aggregate:
        return registry()[self.name]

    @property
    def rows(self) -> Any:
        return self.declared.store.model.objects

    def create(self, text: str = "one", aggregate_id: str | None = None, **meta: object) -> Command:
        return self._command(0, aggregate_id, {self.field: text}, **meta)

    def change(self, aggregate_id: str, text: str = "other", **meta: object) -> Command:
        return self._command(1, aggregate_id, {self.field: text}, **meta)

    def remove(self, aggregate_id: str, **meta: object) -> Command:
        return self._command(2, aggregate_id, {}, **meta)

    def text_of(self, state: bytes) -> str:
        return str(getattr(self.declared.state.FromString(state), self.field))

    def texts(self) -> list[str]:
        """The texts of the rows, in the order they were added."""
        return list(self.rows.order_by("added_by").values_list(self.field, flat=True))

    def _command(self, verb: int, aggregate_id: str | None, fields: dict[str, str], **meta: object) -> Command:
        name = self.verbs[verb]
        body = self.declared.verbs[name].body(**fields)
        return command(f"{self.name}.{name}", aggregate_id, body.SerializeToString(), **meta)


CONTACT = Subject("contact", ("add", "update", "delete"), "name")
NOTE = Subject("note", ("write", "rewrite", "remove"), "text")

# Those that are installed: notes are where CONTACTS_EXTRA_APPS names their app.
SUBJECTS = [CONTACT, NOTE] if apps.is_installed(NOTE_APP) else [CONTACT]
by_name: Callable[[Subject], str] = lambda subject: subject.name  # noqa: E731
