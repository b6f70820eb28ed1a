"""Answers to many reads at once, in two queries at most.

Messages are built in place, in the reply: one that is built apart is copied into it, level by level.
"""

from collections.abc import Sequence

from cqrs.store.decide import missing
from cqrs.store.messages import ContactRow, fill_contact
from cqrs.store.queries import contact_rows, first_rows
from protocol.contact_pb2 import RequestResponse
from protocol.contact_read_pb2 import ContactArrayRequestResponse, ContactRequestResponse, ReadReply
from protocol.rules import count_error, id_error


def read(contact_ids: Sequence[str], counts: Sequence[int]) -> ReadReply:
    """Answers each question, in the order of the questions; what is wrong with one stands in its answer."""
    reply = ReadReply()
    if contact_ids:
        found = contact_rows(contact_ids)
        for contact_id in contact_ids:
            _answer(reply.contact.add(), contact_id, found.get(contact_id))
    if counts:
        most = max((count for count in counts if count_error(count) is None), default=0)
        listed = first_rows(most) if most else []
        for count in counts:
            _list(reply.list.add(), count, listed)
    return reply


def _answer(answer: ContactRequestResponse, contact_id: str, row: ContactRow | None) -> None:
    if row is not None:
        answer.response.Message = "OK"
        fill_contact(answer.contact, *row)
    else:
        _refuse(answer.response, id_error(contact_id) or missing(contact_id))


def _list(answer: ContactArrayRequestResponse, count: int, listed: Sequence[ContactRow]) -> None:
    if error := count_error(count):
        _refuse(answer.response, error)
        return
    answer.response.Message = "OK"
    for row in listed[:count]:
        fill_contact(answer.contact.add(), *row)


def _refuse(response: RequestResponse, message: str) -> None:
    response.status = RequestResponse.ERROR
    response.Message = message
