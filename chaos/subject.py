"""The aggregate under load, and what GraphQL calls it. Its answers come under contacts' names, by aliases."""

from typing import Any

from cqrs.aggregate import Effect, registry
from cqrssite.graphql.types import type_name


class Subject:
    """A declared aggregate, with a verb of each effect. Its first argument when changed stands for a contact's name.

    Raises LookupError where none is declared by this name.
    """

    def __init__(self, name: str = "contact") -> None:
        aggregate = registry()[name]
        self.query = name
        self.list = f"list{type_name(aggregate)}s"
        self.changed = f"contactChanged: {name}Changed"
        self.id = f"{name}Id"
        self._state = aggregate.state
        # The first verb of each effect.
        verbs = {verb.effect: verb for verb in reversed(aggregate.verbs.values())}
        adds, updates, deletes = (verbs[effect] for effect in (Effect.CREATES, Effect.CHANGES, Effect.DELETES))
        self.mutations = {
            kind: f"{verb.name}{type_name(aggregate)}"
            for kind, verb in (("ADD", adds), ("UPDATE", updates), ("DELETE", deletes))
        }
        self.name = aggregate.arguments(updates)[0]

    def parse(self, state: bytes) -> tuple[str, int]:
        """The name and version in a serialised state; "" and 0 where it is empty."""
        message: Any = self._state.FromString(state)
        return getattr(message, self.name), message.version
