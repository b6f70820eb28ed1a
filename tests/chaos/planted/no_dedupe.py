"""The database applies a command as often as it is sent."""

from collections.abc import Sequence

from tests.chaos.planted import manage


def plant() -> None:
    from django.db import connections

    from cqrs.store import rows
    from cqrs.store.incoming import Offer
    from cqrs.store.unit_of_work import Batch

    learn, take = Batch._learn, Batch._take

    def learn_all(batch: Batch, offers: Sequence[Offer]) -> None:
        learn(batch, offers)
        batch._stored |= rows.contacts(batch._cursor, [offer.contact_id for offer in offers])

    def take_again(batch: Batch, offer: Offer) -> Sequence[Offer]:
        batch._settled.pop(offer.command_id, None)
        return take(batch, offer)

    Batch._learn = learn_all
    Batch._take = take_again
    # The schema would not have it.
    with connections["contacts"].cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS notice_one_final_per_command")
    connections["contacts"].close()


if __name__ == "__main__":
    manage(plant)
