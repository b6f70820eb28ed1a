"""How a batch of keys is answered: by one `Read`, or by the calls of a contract where the peer knows no other."""

import asyncio
import logging
from typing import Any, Protocol

from cqrs.aggregate import registry
from cqrs.query.batcher import Batch
from cqrs.query.connection import Connection
from cqrs.query.errors import ExtensionMissing, ReadError, ReaderUnavailable
from cqrs.query.keys import Key
from protocol.cqrs_read_pb2 import ReadReply, ReadRequest

log = logging.getLogger("cqrs.query.client")

# Calls at once to a peer that answers one key a call.
SINGLE_CALLS = 32
# Such a peer is asked for `Read` again after so many seconds: it may have been replaced.
ASK_AGAIN = 5.0


class SingleReads(Protocol):
    """Reads by a contract, one key a call, from peers that do not know the kit's own service."""

    async def read(self, connection: Connection, key: Key, ends: float) -> Any:
        """The value of the key. Raises ReadError: ExtensionMissing where the contract has no call for the key."""
        ...


class BatchReader:
    """Answers batches over one connection.

    fallback: for peers that answer UNIMPLEMENTED to `Read`; None: every read there raises ExtensionMissing.
    """

    def __init__(self, connection: Connection, fallback: SingleReads | None = None) -> None:
        self._connection = connection
        self._fallback = fallback
        self._single_calls = asyncio.Semaphore(SINGLE_CALLS)
        self._knows_read = True
        self._ask_again_at = 0.0

    async def answer(self, batch: Batch) -> None:
        """Answers each key of the batch, or raises a ReadError for those without an answer."""
        if self._knows_read or asyncio.get_running_loop().time() >= self._ask_again_at:
            try:
                await self._read(batch)
            except ExtensionMissing as error:
                if self._fallback is None:
                    raise
                self._note_missing(error)
            else:
                self._note_known()
                return
        async with asyncio.TaskGroup() as calls:
            for key in batch:
                calls.create_task(self._read_single(batch, key))

    async def _read(self, batch: Batch) -> None:
        request = ReadRequest()
        for key in batch:
            key.add_to(request)
        reply: ReadReply = await self._connection.read(request, batch.ends)
        if len(reply.answer) != len(batch):
            raise ReadError(f"the reader at {self._connection.address} left keys unanswered")
        aggregates = registry()
        for key, answer in zip(batch, reply.answer, strict=True):
            if answer.error:
                batch.fail(key, ReadError(f"the reader at {self._connection.address} refused: {answer.error}"))
            else:
                batch.answer(key, key.value_of(answer, aggregates[key.aggregate].state.FromString))

    async def _read_single(self, batch: Batch, key: Key) -> None:
        assert self._fallback is not None
        try:
            async with self._single_calls:
                value = await self._fallback.read(self._connection, key, batch.ends)
        except ReadError as error:
            if isinstance(error, ReaderUnavailable):
                # The peer that comes back may be another.
                self._ask_again_at = 0.0
            batch.fail(key, error)
        else:
            batch.answer(key, value)

    def _note_missing(self, error: ExtensionMissing) -> None:
        if self._knows_read:
            log.warning("%s: one key is read a call", error)
        self._knows_read = False
        self._ask_again_at = asyncio.get_running_loop().time() + ASK_AGAIN

    def _note_known(self) -> None:
        if not self._knows_read:
            log.info("the reader at %s knows Read: many keys are read a call", self._connection.address)
        self._knows_read = True
