"""One batch of commands being worked out within a transaction: who goes, who waits, who is parked, what is written."""

import logging
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from cqrs.store import dead_letters, rows
from cqrs.store.decide import Outcome, decide, withdrawal
from cqrs.store.incoming import Offer, as_parked, kept, operated
from cqrs.store.messages import NoticeRow, milliseconds, notice_of, timestamp
from cqrs.store.models import MAX_MESSAGE_TEXT
from cqrs.store.rows import StoredContact
from protocol.cqrs_command_pb2 import Operation
from protocol.notice_pb2 import Notice

log = logging.getLogger("cqrs.store.apply")


class Applied(NamedTuple):
    """What a batch did: a notice of each command it recorded, and the ids of those it left to be offered again."""

    notices: list[Notice]
    left: list[str]


class Batch:
    """Takes offers, decides on each that can be decided on, then writes all that came of it.

    cursor: within the transaction. now: when it is committed, in milliseconds. refused: commands by id whose rows the
    database refused, with its error: they are parked.
    """

    def __init__(self, cursor: CursorWrapper, now: int, refused: Mapping[str, Exception]) -> None:
        self._cursor = cursor
        self._now = now
        self._timestamp = timestamp(now)
        self._refused = refused
        # First, since it may lock: what is read from here on stays true until the commit.
        self._database = rows.identity(cursor, lock=True)
        self._number = rows.last_number(cursor)
        self._settled: dict[str, str] = {}
        self._parked: dict[str, rows.Parked] = {}
        self._stored: dict[str, StoredContact] = {}
        self._changed: dict[str, StoredContact | None] = {}
        self._waiting: defaultdict[str, list[Offer]] = defaultdict(list)
        # Positions that are not of this history, and the commands left because they come from there.
        self._elsewhere: set[str] = set()
        self._strangers: list[str] = []
        self._notices: list[NoticeRow] = []
        self._parkings: list[dead_letters.Parking] = []
        self._unparked: list[str] = []

    def take(self, offers: Sequence[Offer]) -> None:
        """Decides on what can be decided on: in the given order, but nothing before what it depends on."""
        self._learn(offers)
        queue = deque(offers)
        while queue:
            queue.extendleft(reversed(self._take(queue.popleft())))

    def write(self) -> Applied:
        """Writes effects and notices."""
        rows.write_contacts(self._cursor, self._stored, self._changed, self._now)
        rows.insert_notices(self._cursor, self._notices)
        # In this order, since one may have been parked and withdrawn in this very batch.
        dead_letters.write(self._parkings, self._now)
        dead_letters.release(self._unparked, self._now)
        return Applied([notice_of(self._database, row) for row in self._notices], self._left())

    def _left(self) -> list[str]:
        waiting = (offer.command_id for offers in self._waiting.values() for offer in offers)
        left = dict.fromkeys((*self._strangers, *waiting))
        return [command_id for command_id in left if command_id not in self._settled]

    def _learn(self, offers: Sequence[Offer]) -> None:
        """Reads what is known of the commands, of what they depend on, and of the contacts."""
        asked: set[str] = set()
        wanted = {name for offer in offers for name in (offer.command_id, offer.depends_on) if name}
        while wanted:
            asked |= wanted
            found = rows.settled(self._cursor, list(wanted))
            self._settled |= found
            self._parked |= rows.parked(self._cursor, list(wanted - found.keys()))
            wanted = {name for name in found.values() if name} - asked
        seen = {offer.seen for offer in offers if offer.seen}
        self._elsewhere = rows.elsewhere(self._cursor, self._database, self._number, seen)
        contacts = {offer.contact_id for offer in offers if offer.contact_id and offer.command_id not in self._settled}
        self._stored |= rows.contacts(self._cursor, list(contacts))

    def _take(self, offer: Offer) -> Sequence[Offer]:
        """Decides on the command if it can be decided on, and returns those that waited for it."""
        command_id = offer.command_id
        if command_id in self._settled:
            return ()
        if offer.seen in self._elsewhere:
            # Applied here, it would come before what this database lacks: that is to be replayed first.
            self._strangers.append(command_id)
            return ()
        if standing := self._parked.get(command_id):
            wanted = offer if offer.retried else as_parked(offer, standing)
            if wanted is None:
                return ()
            offer = wanted
        blocker = self._blocker(offer.depends_on)
        if not blocker or offer.withdrawn:
            self._decide(offer, blocker)
        elif blocker in self._parked:
            self._park(offer, "waits behind a parked command", behind=blocker)
        else:
            self._waiting[blocker].append(offer)
            return ()
        return self._waiting.pop(command_id, ())

    def _blocker(self, command_id: str) -> str:
        """What has to be settled before a command that depends on `command_id` has its turn; "": nothing."""
        passed = set()
        # Withdrawn commands were recorded out of turn: who depends on one waits for what it would have waited for.
        while command_id and command_id not in passed:
            if command_id not in self._settled:
                return command_id
            passed.add(command_id)
            command_id = self._settled[command_id]
        return ""

    def _decide(self, offer: Offer, blocker: str) -> None:
        if error := self._refused.get(offer.command_id):
            self._park(offer, dead_letters.cause_of(error), error=error)
            return
        current = self._current(offer.contact_id)
        try:
            outcome = withdrawal(offer.command) or decide(current.contact if current else None, offer.command)
        except Exception as error:
            log.exception("command=%s fails, it is parked", offer.command_id)
            self._park(offer, dead_letters.cause_of(error), error=error)
        else:
            self._settle(offer, outcome, blocker if outcome.kind in rows.WITHDRAWN else "")

    def _current(self, contact_id: str) -> StoredContact | None:
        if contact_id in self._changed:
            return self._changed[contact_id]
        return self._stored.get(contact_id)

    def _settle(self, offer: Offer, outcome: Outcome, waits_for: str) -> None:
        self._notice(offer, outcome, waits_for or ("" if offer.withdrawn else offer.depends_on))
        self._settled[offer.command_id] = waits_for
        if offer.command_id in self._parked:
            del self._parked[offer.command_id]
            self._unparked.append(offer.command_id)
        if outcome.kind == Notice.DELETED:
            self._changed[offer.contact_id] = None
        elif outcome.contact and outcome.kind in (Notice.ADDED, Notice.UPDATED):
            was = self._current(offer.contact_id)
            self._changed[offer.contact_id] = StoredContact(outcome.contact, was.added_by if was else self._number)

    def _notice(self, offer: Offer, outcome: Outcome, depends_on: str) -> None:
        contact = outcome.contact
        if contact and outcome.kind in (Notice.ADDED, Notice.UPDATED):
            contact.last_updated.CopyFrom(self._timestamp)
        self._number += 1
        self._notices.append(
            NoticeRow(
                self._number,
                offer.command_id,
                outcome.kind,
                offer.contact_id,
                contact.name if contact else "",
                contact.version if contact else 0,
                milliseconds(contact.last_updated) if contact else None,
                (outcome.message + operated(offer.operation))[:MAX_MESSAGE_TEXT],
                outcome.reason,
                offer.actor,
                depends_on,
                self._now,
            )
        )

    def _park(self, offer: Offer, cause: str, *, error: Exception | None = None, behind: str = "") -> None:
        first = offer.command_id not in self._parked
        payload = kept(offer.command, behind)
        # That it failed again by itself is no news; that it did when an operator had it tried, is.
        told = first or offer.operation.kind != Operation.NONE
        if told:
            what = "Parked" if first else "Parked again"
            self._notice(offer, Outcome(Notice.PARKED, None, f"{what}: {cause}"), offer.depends_on)
            self._parked[offer.command_id] = rows.Parked(self._number, payload)
        self._parkings.append(
            dead_letters.Parking(
                command_id=offer.command_id,
                contact_id=offer.contact_id,
                payload=payload,
                cause=cause,
                error=error,
                behind=behind,
                notice=self._number if told else 0,
                first=first,
            )
        )
