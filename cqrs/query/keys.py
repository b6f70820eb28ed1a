"""What is read: one of an aggregate by its id, or the first so many."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from protocol.cqrs_read_pb2 import Answer, ReadRequest

Parse: TypeAlias = Callable[[bytes], Any]


class ById(NamedTuple):
    """The state of one, or None."""

    aggregate: str
    id: str

    @property
    def most(self) -> int:
        """States that the answer has at most."""
        return 1

    def add_to(self, request: ReadRequest) -> None:
        request.key.add(aggregate=self.aggregate, id=self.id)

    def value_of(self, answer: Answer, parse: Parse) -> Any:
        return parse(answer.state[0]) if answer.state else None


class First(NamedTuple):
    """The states of the first so many, in the order they were added."""

    aggregate: str
    most: int

    def add_to(self, request: ReadRequest) -> None:
        request.key.add(aggregate=self.aggregate).page.count = self.most

    def value_of(self, answer: Answer, parse: Parse) -> Any:
        return [parse(state) for state in answer.state]


Key: TypeAlias = ById | First
