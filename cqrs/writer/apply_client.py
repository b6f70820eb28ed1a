"""The writer's side of the database service: a batch of commands in, in whatever way that service understands."""

import itertools
import logging
from collections.abc import Sequence
from typing import NamedTuple, Self

import grpc

from cqrs.transport.backoff import Backoff, describe
from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.persistent_calls import StreamedCall
from cqrs.writer.contract import REFUSED, ContractApply
from cqrs.writer.delay_queue import Held
from protocol.contact_write_pb2 import ApplyReply, CommandBatch, Undecodable, UndecodableBatch
from protocol.contact_write_pb2_grpc import ContactWriterStub

log = logging.getLogger("cqrs.writer.apply_client")

# Seconds that one call may take. Long, since the database goes on with what we give up on: a service that is frozen or
# gone is noticed by the connection, this is for one that is merely slow.
DEADLINE = 30.0

# How often one command alone is tried that the service fails on without saying that the command is wrong.
ATTEMPTS = 5


class Applied(NamedTuple):
    """What became of a batch; what is in neither list is settled."""

    left: Sequence[Held]  # not applied yet: what they depend on is not settled
    refused: Sequence[tuple[Held, grpc.aio.AioRpcError]]  # not taken, and why


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
        self._apply = StreamedCall(self._stub.ApplyEach, self._stub.Apply)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def apply(self, batch: Sequence[Held]) -> Applied:
        """Applies a batch in order, waiting for the service as long as it takes.

        An empty batch asks whether the service is there and what it understands.
        """
        backoff = Backoff()
        for attempt in itertools.count(1):
            try:
                applied = await self._try(batch)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED and not self._contract_only:
                    self._fall_back()
                    continue
                self._say_away(error)
                self._contract_only = False  # another one may come back
            else:
                if not self._failed_whole(batch, applied, attempt):
                    self._say_back()
                    return applied
                self._say_away(applied.refused[0][1])
            await backoff.pause()
        raise AssertionError("unreachable")

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
                if error.code() not in REFUSED | {grpc.StatusCode.UNIMPLEMENTED}:
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
        """One call, or where a batch is refused one for each half, so that one defective command stops no other.

        Raises AioRpcError for what is not the fault of the batch: it is to be offered again as it is.
        """
        if self._contract_only:
            refused = await self._contract.apply(self._stub, batch, self._metadata, wait_for_ready=self._waiting)
            return Applied([], refused)
        try:
            # The first call that finds nobody there fails at once and with the reason; those after it wait.
            reply: ApplyReply = await self._apply(
                CommandBatch.FromString(b"".join(held.payload for held in batch)),
                timeout=DEADLINE,
                wait_for_ready=self._waiting,
                metadata=self._metadata,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSED:
                raise
            if len(batch) <= 1:
                return Applied([], [(held, error) for held in batch])
            middle = len(batch) // 2
            first, second = await self._try(batch[:middle]), await self._try(batch[middle:])
            return Applied([*first.left, *second.left], [*first.refused, *second.refused])
        left = set(reply.left)
        return Applied([held for held in batch if held.command_id in left] if left else [], [])

    @staticmethod
    def _failed_whole(batch: Sequence[Held], applied: Applied, attempt: int) -> bool:
        """Whether this looks like a defect of the service and not of what was sent.

        So it does when nothing is taken though nothing is said to be wrong with it. Of one command alone there is no
        telling, so that is tried a few times.
        """
        if not batch or len(applied.refused) < len(batch) or (len(batch) == 1 and attempt >= ATTEMPTS):
            return False
        return all(error.code() is not grpc.StatusCode.INVALID_ARGUMENT for _, error in applied.refused)

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
