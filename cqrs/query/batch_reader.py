"""How a batch of questions is answered: by one `Read`, or by the contract's calls where the peer knows no other."""

import asyncio
import logging

from cqrs.query.batcher import Batch, Question
from cqrs.query.connection import Connection
from cqrs.query.errors import ExtensionMissing, ReadError, ReaderUnavailable
from protocol.contact_pb2 import ContactReference, RequestResponse
from protocol.contact_read_pb2 import (
    ContactArrayRequestResponse,
    ContactRequestResponse,
    ListContactsFilter,
    ReadReply,
    ReadRequest,
)

log = logging.getLogger("cqrs.query.client")

# Calls at once to a peer that answers one question a call.
SINGLE_CALLS = 32
# Such a peer is asked for `Read` again after so many seconds: it may have been replaced.
ASK_AGAIN = 5.0


class Answers:
    """Answers batches over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._single_calls = asyncio.Semaphore(SINGLE_CALLS)
        self._knows_read = True
        self._ask_again_at = 0.0

    async def answer(self, batch: Batch) -> None:
        """Answers each question of the batch, or raises a ReadError for those it left."""
        if self._knows_read or asyncio.get_running_loop().time() >= self._ask_again_at:
            try:
                await self._read(batch)
            except ExtensionMissing as error:
                self._note_missing(error)
            else:
                self._note_known()
                return
        async with asyncio.TaskGroup() as calls:
            for question in batch:
                calls.create_task(self._ask_single(batch, question))

    async def _read(self, batch: Batch) -> None:
        ids = [question for question in batch if isinstance(question, str)]
        counts = [question for question in batch if isinstance(question, int)]
        request = ReadRequest(contact_id=ids, list_count=counts)
        reply: ReadReply = await self._connection.call("Read", request, batch.ends)
        if len(reply.contact) != len(ids) or len(reply.list) != len(counts):
            raise ReadError(f"the reader at {self._connection.address} left questions unanswered")
        for contact_id, contact in zip(ids, reply.contact, strict=True):
            _hand_over(batch, contact_id, contact)
        for count, contacts in zip(counts, reply.list, strict=True):
            _hand_over(batch, count, contacts)

    async def _ask_single(self, batch: Batch, question: Question) -> None:
        call = self._connection.call
        try:
            async with self._single_calls:
                if isinstance(question, str):
                    reply = await call("GetContact", ContactReference(id=question), batch.ends)
                else:
                    reply = await call("ListContacts", ListContactsFilter(count=question), batch.ends)
        except ReadError as error:
            if isinstance(error, ReaderUnavailable):
                # Who comes back may be another.
                self._ask_again_at = 0.0
            batch.fail(question, error)
        else:
            _hand_over(batch, question, reply)

    def _note_missing(self, error: ExtensionMissing) -> None:
        if self._knows_read:
            log.warning("%s: contacts are read one a call", error)
        self._knows_read = False
        self._ask_again_at = asyncio.get_running_loop().time() + ASK_AGAIN

    def _note_known(self) -> None:
        if not self._knows_read:
            log.info("the reader at %s knows Read: contacts are read many a call", self._connection.address)
        self._knows_read = True


def _hand_over(batch: Batch, question: Question, reply: ContactRequestResponse | ContactArrayRequestResponse) -> None:
    """Answers the question. In the contract RequestResponse.ERROR to an id means that there is no such contact."""
    is_ok = reply.response.status == RequestResponse.OK
    if isinstance(reply, ContactRequestResponse):
        batch.answer(question, reply.contact if is_ok else None)
    elif is_ok:
        batch.answer(question, reply.contact)
    else:
        batch.fail(question, ReadError(f"contacts cannot be listed: {reply.response.Message}"))
