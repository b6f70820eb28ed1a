"""Applies contact commands at a database service that knows only the Go example's contract: one call each."""

import asyncio
import logging
from collections.abc import Sequence

import grpc

from contacts_write.go_contract import message_of
from cqrs.transport.persistent_calls import Metadata
from cqrs.writer.apply_client import REFUSALS, Refused
from cqrs.writer.delay_queue import ScheduledCommand
from protocol.contact_pb2 import RequestResponse
from protocol.cqrs_command_pb2 import Command, Operation

log = logging.getLogger("contacts_write.go_database")

# Contacts whose commands are under way at once.
CONCURRENT = 16
# Seconds that one call may take.
DEADLINE = 10.0

_METHODS = {
    "contact.add": "/protocol.ContactWriter/AddContact",
    "contact.update": "/protocol.ContactWriter/UpdateContact",
    "contact.delete": "/protocol.ContactWriter/DeleteContact",
}


class GoDatabase:
    """Applies batches by the contract's calls: in order for each contact, several contacts at once.

    Such a service knows neither command ids nor cancels, so both are seen to here, as far as this process remembers.
    remembered: command ids.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._done: dict[str, None] = {}

    async def apply(
        self, channel: grpc.aio.Channel, batch: Sequence[ScheduledCommand], *, metadata: Metadata, wait_for_ready: bool
    ) -> Sequence[Refused]:
        """Applies what it does not remember having applied; returns what the service refuses.

        Raises AioRpcError when the service is away: the same batch goes on from there.
        """
        refused: list[Refused] = []
        chains: dict[str, list[tuple[ScheduledCommand, Command]]] = {}
        for scheduled in batch:
            command = Command.FromString(scheduled.payload)
            if command.kind not in _METHODS:
                reason = f"the database service takes only commands of contacts, not {command.kind}"
                refused.append(Refused(scheduled, reason))
                continue
            # An add without an id leaves that to the service: it has no predecessor and no successor.
            chains.setdefault(command.aggregate_id or scheduled.command_id, []).append((scheduled, command))
        room = asyncio.Semaphore(CONCURRENT)

        async def follow(chain: Sequence[tuple[ScheduledCommand, Command]]) -> None:
            for scheduled, command in chain:
                try:
                    async with room:
                        await self._apply(channel, command, metadata, wait_for_ready=wait_for_ready)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in REFUSALS:
                        raise
                    refused.append(Refused.by(error, scheduled))

        results = await asyncio.gather(*map(follow, chains.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return refused

    async def _apply(
        self, channel: grpc.aio.Channel, command: Command, metadata: Metadata, *, wait_for_ready: bool
    ) -> None:
        meta = command.meta
        if meta.command_id in self._done:
            return
        if meta.cancelled or meta.operation.kind == Operation.DISCARD:
            self._remember(meta.command_id)
            log.info("voided: command=%s", meta.command_id)
            return
        # By the method's path and not by a stub, since the message is serialised already.
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, RequestResponse] = channel.unary_unary(
            _METHODS[command.kind], response_deserializer=RequestResponse.FromString
        )
        answer = await call(message_of(command), timeout=DEADLINE, wait_for_ready=wait_for_ready, metadata=metadata)
        self._remember(meta.command_id)
        if answer.status == RequestResponse.ERROR:
            log.warning("the database service rejects %s: %s command=%s", command.kind, answer.Message, meta.command_id)

    def _remember(self, command_id: str) -> None:
        self._done[command_id] = None
        if len(self._done) > self._remembered:
            del self._done[next(iter(self._done))]
