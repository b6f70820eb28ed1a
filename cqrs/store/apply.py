"""The one way contacts change: a batch of commands becomes effects and notices in one transaction."""

import logging
from collections.abc import Mapping, Sequence

from django.db import transaction

from cqrs.engines import engine_of
from cqrs.store import dead_letters
from cqrs.store.database import ALIAS, cursor, now_ms
from cqrs.store.incoming import Offer, offer_of
from cqrs.store.unit_of_work import Applied, Batch
from protocol.contact_write_pb2 import Command

log = logging.getLogger("cqrs.store.apply")

# Parked commands tried again in one transaction.
_RETRIED_AT_ONCE = 100


def apply(commands: Sequence[Command]) -> Applied:
    """Applies what can be applied, in one transaction with its notices.

    A known command id changes nothing. In the order given, but none before what it depends on; those that depend on
    what is not settled are left, those that depend on what is parked are parked behind it. A defective command is
    parked, so that the others are applied. Raises the database's errors when nothing could be committed.
    """
    return _apply([offer_of(command) for command in commands])


def retry_parked() -> Applied:
    """Tries the parked commands again that are due, as `apply` does."""
    now = now_ms()
    rows = dead_letters.due(now, _RETRIED_AT_ONCE)
    applied = _apply([offer_of(Command.FromString(bytes(row.payload)), retried=True) for row in rows])
    dead_letters.postpone(applied.left, now)
    return applied


def _apply(offers: Sequence[Offer]) -> Applied:
    if not offers:
        return Applied([], [])
    try:
        with transaction.atomic(using=ALIAS):
            return _run(offers)
    except Exception as error:
        if not engine_of(ALIAS).is_of_the_row(error):
            raise
        log.warning("the database refuses a batch of %d, trying them one by one: %s", len(offers), error)
    applied = Applied([], [])
    with transaction.atomic(using=ALIAS):
        for offer in offers:
            one = _apply_or_park(offer)
            applied.notices.extend(one.notices)
            applied.left.extend(one.left)
    return applied


def _apply_or_park(offer: Offer) -> Applied:
    try:
        with transaction.atomic(using=ALIAS):
            return _run([offer])
    except Exception as error:
        if not engine_of(ALIAS).is_of_the_row(error):
            raise
        log.exception("command=%s: the database refuses it, it is parked", offer.command_id)
        return _run([offer], {offer.command_id: error})


def _run(offers: Sequence[Offer], refused: Mapping[str, Exception] | None = None) -> Applied:
    with cursor() as on:
        batch = Batch(on, now_ms(), refused or {})
        batch.take(offers)
        return batch.write()
