"""What a team declares: an aggregate, the verbs that change it, and where its rows are.

    note = Aggregate("note", state=Note, store=TableStore(models.Note, Note), summary=lambda note: note.text)

    @note.verb(WriteNote, Effect.CREATES)
    def write(_none, wanted):
        return Note(text=wanted.text)

    @note.verb(RewriteNote, Effect.CHANGES)
    def rewrite(note, wanted):
        return f"the text is {note.text} already" if wanted.text == note.text else Note(text=wanted.text)

It stands in the module `aggregate` of an installed app. Names follow from it: the command "note.write", the mutation
writeNote, the function write_note, the subscription noteChanged.
"""

from __future__ import annotations  # Django's fields are generic in their stubs alone

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol, TypeAlias

from django.apps import apps
from django.db import models
from google.protobuf.message import Message

from cqrs.cleaning import Clean, cleaner

# Fields of a state message, and columns of its rows, that the kit fills; `meta` is where the contract's messages carry
# what makes them commands. All others are a team's own.
OWN_FIELDS = frozenset({"id", "version", "last_updated", "meta"})


class Effect(enum.Enum):
    """What a verb does to its aggregate. The kit checks that there is one, or none, before the verb decides."""

    CREATES = "creates"
    CHANGES = "changes"
    DELETES = "deletes"


# Of the state (None where there is none: CREATES) and the cleaned body: the state it is to have, of which the kit fills
# id, version and last_updated (DELETES: whatever is returned but a sentence counts as yes); or why not, a sentence.
Decide: TypeAlias = Callable[[Any, Any], Message | str | None]


@dataclass(frozen=True, slots=True)
class Verb:
    """One command of an aggregate. body: the message of its arguments. clean: trims a body in place and checks it."""

    aggregate: str
    name: str
    body: type[Message]
    effect: Effect
    decide: Decide
    clean: Clean
    description: str = ""

    @property
    def kind(self) -> str:
        """As it travels: "contact.add"."""
        return f"{self.aggregate}.{self.name}"


class Stored(NamedTuple):
    """An aggregate as it is stored: its state, id and version and all, and the number of the notice that added it."""

    state: Any
    added_by: int


class Store(Protocol):
    """Where the rows of an aggregate are. Methods run on a cursor of the calling thread, within its transaction."""

    @property
    def model(self) -> type[models.Model]: ...

    @property
    def columns(self) -> Mapping[str, models.Field[Any, Any]]:
        """The model's fields by the names of the state message's: their rules are those of arguments."""
        ...

    def load(self, cursor: Any, ids: Sequence[str]) -> dict[str, Stored]:
        """The rows that there are, by id. ids: each one is an id by `protocol.rules`."""
        ...

    def read(self, cursor: Any, ids: Sequence[str]) -> dict[str, bytes]:
        """The states of those that there are, serialized."""
        ...

    def first(self, cursor: Any, count: int) -> list[bytes]:
        """The states of the first so many, serialized, in the order they were added."""
        ...

    def save(self, cursor: Any, before: Mapping[str, Stored], after: Mapping[str, Stored | None]) -> None:
        """Makes of the rows as they are (`before`) what they are to be (`after`: those that change; None: no more)."""
        ...


@dataclass(frozen=True)
class Aggregate:
    """An aggregate by its name ("contact").

    state: the message that reads and notices carry; it has the fields id, version and last_updated, which the kit
    fills. summary: one line about a state, for lists and search. noun: what messages to people call it, by default its
    name ("user with id x not found"). aliases: other names of its query in GraphQL, with their descriptions.
    """

    name: str
    state: type[Message]
    store: Store
    summary: Callable[[Any], str] = str
    noun: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    verbs: dict[str, Verb] = field(default_factory=dict)

    def verb(self, body: type[Message], effect: Effect, description: str = "") -> Callable[[Decide], Decide]:
        """Declares a verb by the function that decides it, whose name it gets."""

        def declare(decide: Decide) -> Decide:
            name = decide.__name__
            clean = cleaner(body, self.store.columns, OWN_FIELDS)
            self.verbs[name] = Verb(self.name, name, body, effect, decide, clean, description)
            return decide

        return declare

    def arguments(self, verb: Verb) -> list[str]:
        """The names of a verb's own arguments, in the order of its body's fields."""
        return [each.name for each in verb.body.DESCRIPTOR.fields if each.name not in OWN_FIELDS]

    @property
    def label(self) -> str:
        """Its name in a sentence: "the blog post is at version 2"."""
        return self.name.replace("_", " ")

    def missing(self, aggregate_id: str) -> str:
        """The sentence for an id that none has."""
        return f"{self.noun or self.name} with id {aggregate_id} not found"

    def exists(self, aggregate_id: str) -> str:
        """The sentence for an id that one has already."""
        return f"{self.noun or self.name} with id {aggregate_id} exists already"


@functools.cache
def registry() -> Mapping[str, Aggregate]:
    """The aggregates of all installed apps, by name; Django has to be set up."""
    found: dict[str, Aggregate] = {}
    for app in apps.get_app_configs():
        module = f"{app.name}.aggregate"
        if app.name == "cqrs" or find_spec(module) is None:
            continue
        for value in vars(import_module(module)).values():
            if not isinstance(value, Aggregate):
                continue
            if found.setdefault(value.name, value) is not value:
                raise TypeError(f"two aggregates are called {value.name}: the second is in {module}")
    return found


def verb_of(kind: str) -> Verb | None:
    """The verb of a kind of command, for example "contact.add"; None where none is declared."""
    return _verbs().get(kind)


@functools.cache
def _verbs() -> Mapping[str, Verb]:
    return {verb.kind: verb for aggregate in registry().values() for verb in aggregate.verbs.values()}
