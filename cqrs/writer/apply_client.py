"""The writer's side of the database service: applies batches of commands, and records malformed messages."""

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import grpc

from cqrs.transport.backoff import Backoff, describe
from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.persistent_calls import Metadata, StreamedCall
from cqrs.writer.delay_queue import ScheduledCommand
from protocol.cqrs_command_pb2 import SerializedBatch
from protocol.cqrs_write_pb2 import ApplyReply, Malformed, MalformedBatch, Recorded

log = logging.getLogger("cqrs.writer.apply_client")

# Seconds that one call may take. Long, since the database goes on with a call that we give up: the connection notices
# a service that is frozen or away, this is for one that is merely slow.
DEADLINE = 30.0

# How often one command alone is tried if the service fails on it without saying that the command is wrong.
ATTEMPTS = 5

# The service refuses the commands. All other codes are about the service or the way to it, and the same batch is sent
# again; so it is with a wrong token, which is for people to mend.
REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
    }
)


class Refused(NamedTuple):
    """A command that the service refuses, and why."""

    command: ScheduledCommand
    reason: str
    # The service says that the command is wrong; otherwise it may have a defect of its own.
    is_wrong: bool = True

    @classmethod
    def by(cls, error: grpc.aio.AioRpcError, command: ScheduledCommand) -> Self:
        """Of an error with one of REFUSALS."""
        return cls(command, describe(error), error.code() is grpc.StatusCode.INVALID_ARGUMENT)


class Applied(NamedTuple):
    """What became of a batch; a command in neither list is settled."""

    deferred: Sequence[ScheduledCommand]  # not applied yet: what they depend on is not settled
    refused: Sequence[Refused]


class Contract(Protocol):
    """The calls of a contract that services without ours understand."""

    async def apply(
        self, channel: grpc.aio.Channel, batch: Sequence[ScheduledCommand], *, metadata: Metadata, wait_for_ready: bool
    ) -> Sequence[Refused]:
        """Applies a batch, as far as it is not applied yet. Raises AioRpcError when the service is away."""
        ...


class WriteClient:
    """A connection to the write service at `address` ("host:port"), within its `async with`.

    token: the one the service asks for; empty: none.
    contract: how commands are applied at a service that lacks our calls; None: the client waits for one that has them.
    channel_to: makes a channel to the address.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        contract: Contract | None = None,
        channel_to: Callable[[str], Any] = open_channel,
    ) -> None:
        self._address = address
        self._channel_to = channel_to
        self._metadata = metadata_of(token)
        self._contract = contract
        self._contract_only = False
        self._contract_logged = False
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether the last call failed and is being tried again."""
        return self._waiting

    @property
    def keeps_outcomes(self) -> bool:
        """Whether journals learn from the service what became of a command, and so send again what is lost."""
        return not self._contract_only

    async def __aenter__(self) -> Self:
        self._channel = self._channel_to(self._address)
        # Not by the stub: batches travel as the bytes that came.
        batch, reply = SerializedBatch.SerializeToString, ApplyReply.FromString
        self._apply = StreamedCall(
            self._channel.stream_stream("/cqrs.WriteService/ApplyEach", batch, reply),
            self._channel.unary_unary("/cqrs.WriteService/Apply", batch, reply),
        )
        self._record = self._channel.unary_unary(
            "/cqrs.WriteService/RecordMalformed", MalformedBatch.SerializeToString, Recorded.FromString
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def apply(self, batch: Sequence[ScheduledCommand]) -> Applied:
        """Applies a batch in order, waiting for the service as long as it takes.

        An empty batch asks whether the service is there and which calls it has.
        """
        backoff = Backoff()
        for attempt in itertools.count(1):
            try:
                applied = await self._try(batch)
            except grpc.aio.AioRpcError as error:
                self._log_outage(describe(error))
            else:
                if not self._failed_whole(batch, applied, attempt):
                    self._log_recovery()
                    return applied
                self._log_outage(applied.refused[0].reason)
            await backoff.pause()
        raise AssertionError("unreachable")

    async def record(self, records: Sequence[Malformed]) -> bool:
        """Stores malformed messages for operators, waiting as `apply` does; returns whether the service keeps such."""
        backoff = Backoff()
        while True:
            try:
                await self._record(
                    MalformedBatch(message=records),
                    timeout=DEADLINE,
                    wait_for_ready=self._waiting,
                    metadata=self._metadata,
                )
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return False
                if error.code() in REFUSALS:
                    log.error("the database service refuses malformed messages: %s", describe(error))
                    return False
                self._log_outage(describe(error))
                await backoff.pause()
            else:
                return True

    async def _try(self, batch: Sequence[ScheduledCommand]) -> Applied:
        """Applies the batch by the calls that the service has. Raises AioRpcError when it is away."""
        if not self._contract_only or self._waiting:  # after an outage another service may have come back
            try:
                applied = await self._split(batch)
                self._contract_only = False
                return applied
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED or self._contract is None:
                    raise
            self._contract_only = True
            self._log_contract()
        assert self._contract is not None
        refused = await self._contract.apply(
            self._channel, batch, metadata=self._metadata, wait_for_ready=self._waiting
        )
        return Applied([], refused)

    async def _split(self, batch: Sequence[ScheduledCommand]) -> Applied:
        """One call, or where a batch is refused one for each half, so that one defective command stops no other.

        Raises AioRpcError for what is not the fault of the batch: the same is to be sent again.
        """
        try:
            # The first call that finds the service away fails at once and with the reason; those after it wait.
            reply: ApplyReply = await self._apply(
                SerializedBatch(command=[each.payload for each in batch]),
                timeout=DEADLINE,
                wait_for_ready=self._waiting,
                metadata=self._metadata,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSALS:
                raise
            if len(batch) <= 1:
                return Applied([], [Refused.by(error, each) for each in batch])
            middle = len(batch) // 2
            first, second = await self._split(batch[:middle]), await self._split(batch[middle:])
            return Applied([*first.deferred, *second.deferred], [*first.refused, *second.refused])
        deferred = set(reply.deferred)
        return Applied([each for each in batch if each.command_id in deferred] if deferred else [], [])

    @staticmethod
    def _failed_whole(batch: Sequence[ScheduledCommand], applied: Applied, attempt: int) -> bool:
        """Whether this looks like a defect of the service and not of the commands.

        So it does when it refuses all of them without calling one wrong. One command alone does not show it, so that is
        tried a few times.
        """
        if not batch or len(applied.refused) < len(batch) or (len(batch) == 1 and attempt >= ATTEMPTS):
            return False
        return not any(each.is_wrong for each in applied.refused)

    def _log_contract(self) -> None:
        if not self._contract_logged:
            log.warning(
                "the database service at %s knows only the contract: commands go to it one by one, "
                "and are deduplicated only as far as this process remembers",
                self._address,
            )
        self._contract_logged = True

    def _log_outage(self, reason: str) -> None:
        if not self._waiting:
            log.warning("waiting for the database service at %s: %s", self._address, reason)
        self._waiting = True

    def _log_recovery(self) -> None:
        if self._waiting:
            log.info("connected to the database service at %s", self._address)
        self._waiting = False
