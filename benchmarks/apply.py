"""The database alone, in a process of its own: prints commands applied, and reads answered, a second, as JSON.

The folder of its database is that of CONTACTS_VAR, which must be migrated.
"""

import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import django

T = TypeVar("T")

# Seconds for each figure, at most.
_DURATION = 0.8
# Commands that are made beforehand for each.
_COMMANDS = 20_000


def main() -> None:
    django.setup()
    from django.conf import settings

    from cqrs.store.apply import apply
    from cqrs.store.batch_reads import read
    from protocol.contact_pb2 import Contact
    from protocol.cqrs_command_pb2 import Command, CommandMeta
    from protocol.cqrs_read_pb2 import Key, Page
    from protocol.ids import aggregate_id_of, new_command_id

    def add(name: str) -> Command:
        command_id = new_command_id()
        return Command(
            meta=CommandMeta(command_id=command_id),
            kind="contact.add",
            aggregate_id=aggregate_id_of(command_id),
            body=Contact(name=name).SerializeToString(),
        )

    with sqlite3.connect(settings.CONTACTS.var / "contacts.sqlite3") as database:
        ids = [row[0] for row in database.execute("SELECT id FROM contact ORDER BY random() LIMIT 2000")]
    results = {}
    for size in (1, 100, 1000):
        commands = (add(f"Ada {number}") for number in range(min(_COMMANDS, 4000 * size)))
        batches = [list(itertools.islice(commands, size)) for _ in range(min(_COMMANDS // size, 4000))]
        results[f"apply_{size}"] = size * _rate(apply, batches)
    keys = [Key(aggregate="contact", id=contact_id) for contact_id in ids]
    results["contact"] = _rate(read, ([key] for key in itertools.cycle(keys)))
    results["contact_30"] = 30 * _rate(read, itertools.repeat(keys[:30]))
    results["list"] = _rate(read, itertools.repeat([Key(aggregate="contact", page=Page(count=10))]))
    print(json.dumps(results))


def _rate(work: Callable[[T], object], arguments: Iterable[T]) -> float:
    """How often a second it can be done, until the time or the arguments are used up."""
    started = time.perf_counter()
    count = 0
    for argument in arguments:
        work(argument)
        count += 1
        if time.perf_counter() - started > _DURATION:
            break
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
