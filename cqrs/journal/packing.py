"""Commands → as few messages as may be."""

from collections.abc import Iterator, Sequence

from cqrs.transport.codec import Codec
from protocol import topics
from protocol.cqrs_command_pb2 import Command, CommandBatch


def pack(commands: Sequence[Command], codec: Codec) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of each message, in order.

    A command alone goes out as the contract has it, if it does; several, and those that are cancelled, as a batch.
    """
    cancelled = [command for command in commands if command.meta.cancelled]
    others = [command for command in commands if not command.meta.cancelled] if cancelled else commands
    alone = codec.encode(others[0]) if len(others) == 1 else None
    if alone is not None:
        yield alone
    elif others:
        yield topics.BATCH, CommandBatch(command=others).SerializeToString()
    if cancelled:
        yield topics.CANCEL, CommandBatch(command=cancelled).SerializeToString()
