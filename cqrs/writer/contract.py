"""Applying commands at a database service that knows only the contract: one call each."""

import asyncio
import logging
from collections.abc import Sequence

import grpc

from cqrs.journal.commands import body_of, meta_of
from cqrs.writer.delay_queue import Held
from protocol.contact_pb2 import RequestResponse
from protocol.contact_write_pb2 import Command, CommandBatch
from protocol.contact_write_pb2_grpc import ContactWriterStub
from protocol.cqrs_command_pb2 import Operation

log = logging.getLogger("cqrs.writer.contract")

# Contacts whose commands are under way at once.
CONCURRENT = 16
# Seconds that one call may take.
DEADLINE = 10.0

# What was sent is not taken. All other codes are about the service or the way to it, and the same is offered again;
# so it is with a wrong token, which is for people to mend.
REFUSED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
}


class ContractApply:
    """Applies batches by the contract's calls: in order for each contact, several contacts at once.

    Such a service neither knows command ids nor cancels, so both happen here, as far as this process remembers.
    remembered: command ids.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._done: dict[str, None] = {}

    async def apply(
        self,
        stub: ContactWriterStub,
        batch: Sequence[Held],
        metadata: tuple[tuple[str, str], ...],
        *,
        wait_for_ready: bool,
    ) -> list[tuple[Held, grpc.aio.AioRpcError]]:
        """Applies what it does not remember having applied; returns the refused, each with the error.

        Raises AioRpcError when the service is away: the same batch goes on from there.
        """
        chains: dict[str, list[tuple[Held, Command]]] = {}
        for held in batch:
            command = CommandBatch.FromString(held.payload).command[0]
            # Whoever adds without an id leaves it to the service: such a command has no other to come before or after.
            chains.setdefault(body_of(command).id or held.command_id, []).append((held, command))
        refused: list[tuple[Held, grpc.aio.AioRpcError]] = []
        room = asyncio.Semaphore(CONCURRENT)

        async def follow(chain: Sequence[tuple[Held, Command]]) -> None:
            for held, command in chain:
                try:
                    async with room:
                        await self._apply(stub, command, metadata, wait_for_ready=wait_for_ready)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in REFUSED:
                        raise
                    refused.append((held, error))

        results = await asyncio.gather(*map(follow, chains.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return refused

    async def _apply(
        self,
        stub: ContactWriterStub,
        command: Command,
        metadata: tuple[tuple[str, str], ...],
        *,
        wait_for_ready: bool,
    ) -> None:
        meta = meta_of(command)
        if meta.command_id in self._done:
            return
        if meta.cancelled or meta.operation.kind == Operation.DISCARD:
            self._remember(meta.command_id)
            log.info("not applied, since it is withdrawn: command=%s", meta.command_id)
            return
        kind = command.WhichOneof("body")
        call = {"add": stub.AddContact, "update": stub.UpdateContact, "delete": stub.DeleteContact}[str(kind)]
        answer: RequestResponse = await call(
            body_of(command), timeout=DEADLINE, wait_for_ready=wait_for_ready, metadata=metadata
        )
        self._remember(meta.command_id)
        if answer.status == RequestResponse.ERROR:
            log.warning("the database service rejects %s: %s command=%s", kind, answer.Message, meta.command_id)

    def _remember(self, command_id: str) -> None:
        self._done[command_id] = None
        if len(self._done) > self._remembered:
            del self._done[next(iter(self._done))]
