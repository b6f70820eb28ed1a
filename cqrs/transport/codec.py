"""How one command alone travels over MQTT: as a topic and a payload of a contract, where there is one for it."""

from collections.abc import Sequence
from typing import Protocol

from protocol.cqrs_command_pb2 import Command


class Codec(Protocol):
    """Translates between commands and the messages of a contract that others speak too."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics of the contract's commands."""
        ...

    def encode(self, command: Command) -> tuple[str, bytes] | None:
        """Topic and payload of the command; None where the contract has none for it."""
        ...

    def decode(self, topic: str, payload: bytes) -> Command:
        """The command in a message on one of the topics. Raises google.protobuf.message.DecodeError."""
        ...


class NoContract:
    """The codec where no other contract is spoken: all commands travel in the kit's own messages."""

    topics: Sequence[str] = ()

    def encode(self, command: Command) -> None:
        """None: the contract has no message for any command."""

    def decode(self, topic: str, payload: bytes) -> Command:
        """Never called, since there are no topics."""
        raise NotImplementedError(topic)
