"""The writer's side of the database service: a batch of commands in, in whatever way that service understands."""

import logging
from collections.abc import Sequence
from typing import NamedTuple, Self

import grpc

from contacts_write.contract import ContractApply
from contacts_write.holding import Held
from protocol.contact_write_pb2 import ApplyReply, CommandBatch, Undecodable, UndecodableBatch
from protocol.contact_write_pb2_grpc import ContactWriterStub
from protocol.credentials import metadata_of
from protocol.lifecycle import Backoff, describe, open_channel

log = logging.getLogger("contacts_write.client")

# Seconds that one call may take. Long, since the database goes on with what we give up on: a service that is frozen or
# gone is noticed by the connection, this is for one that is merely slow.
DEADLINE = 30.0

# Not the fault of what was sent: it is offered again as it is. A wrong token is for people to mend.
_WAIT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}


class Applied(NamedTuple):
    """What became of a batch; what is in neither list is settled."""

    left: Sequence[Held]  # not applied yet: what they depend on is not settled
    refused: Sequence[tuple[Held, str]]  # not taken, and why


class WriteClient:
    """A connection to the write service at `address` ("host:port"), within its `async with`.

    token: the one the service asks for; empty: none.
    remembered: how many commands it remembers having applied at a service that does not do so itself.
    """

    def __init__(self, address: str, *, token: str = "", remembered: int = 200_000) -> None:
        self._address = address
        self._metadata = metadata_of(token)
        self._contract = ContractApply(remembered)
        self._contract_only = False
        self._contract_said = False
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether the last call failed and is being tried again."""
        return self._waiting

    async def __aenter__(self) -> Self:
        self._channel = open_channel(self._address)
        self._stub: ContactWriterStub = ContactWriterStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def apply(self, batch: Sequence[Held]) -> Applied:
        """Applies a batch in order, waiting for the service as long as it takes.

        An empty batch asks whether the service is there and what it understands.
        """
        backoff = Backoff()
        while True:
            try:
                applied = await self._try(batch)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED and not self._contract_only:
                    self._fall_back()
                elif error.code() in _WAIT or self._contract_only:
                    self._say_away(error)
                    self._contract_only = False  # another one may come back
                    await backoff.pause()
                elif len(batch) > 1:
                    self._say_back()
                    return await self._apply_halves(batch)
                else:
                    self._say_back()
                    return Applied([], [(held, describe(error)) for held in batch])
            else:
                self._say_back()
                return applied

    async def record(self, records: Sequence[Undecodable]) -> None:
        """Hands over what is no command, for people to look at, waiting as `apply` does; or logs it, where the service
        does not take it."""
        backoff = Backoff()
        while True:
            try:
                await self._stub.RecordUndecodable(
                    UndecodableBatch(undecodable=records),
                    timeout=DEADLINE,
                    wait_for_ready=self._waiting,
                    metadata=self._metadata,
                )
            except grpc.aio.AioRpcError as error:
                if error.code() in _WAIT:
                    self._say_away(error)
                    await backoff.pause()
                    continue
                for record in records:
                    log.error(
                        "lost a message on %s of %d bytes, which is no command (%s): %s",
                        record.topic,
                        record.size,
                        record.reason,
                        describe(error),
                    )
            return

    async def _try(self, batch: Sequence[Held]) -> Applied:
        """One call, or one for each command. The first that fails does so at once, with the reason; later ones wait."""
        if self._contract_only:
            refused = await self._contract.apply(self._stub, batch, self._metadata, self._waiting)
            return Applied([], refused)
        reply: ApplyReply = await self._stub.Apply(
            CommandBatch.FromString(b"".join(held.payload for held in batch)),
            timeout=DEADLINE,
            wait_for_ready=self._waiting,
            metadata=self._metadata,
        )
        left = set(reply.left)
        return Applied([held for held in batch if held.command_id in left] if left else [], [])

    async def _apply_halves(self, batch: Sequence[Held]) -> Applied:
        """Finds the commands for which a whole batch is refused, so that the others take effect."""
        middle = len(batch) // 2
        first = await self.apply(batch[:middle])
        second = await self.apply(batch[middle:])
        return Applied([*first.left, *second.left], [*first.refused, *second.refused])

    def _fall_back(self) -> None:
        self._contract_only = True
        if not self._contract_said:
            log.warning(
                "the database service at %s knows only the contract: commands go to it one by one, "
                "and are not deduplicated beyond what this process remembers",
                self._address,
            )
        self._contract_said = True

    def _say_away(self, error: grpc.aio.AioRpcError) -> None:
        if not self._waiting:
            log.warning("waiting for the database service at %s: %s", self._address, describe(error))
        self._waiting = True

    def _say_back(self) -> None:
        if self._waiting:
            log.info("connected to the database service at %s", self._address)
        self._waiting = False
