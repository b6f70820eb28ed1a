"""The database alone, in a process of its own: prints commands applied, and reads answered, a second, as JSON.

The folder of its database is that of CONTACTS_VAR, which must be migrated.
"""

import json
import sqlite3
import time
from collections.abc import Callable

import django

# Seconds for each.
_DURATION = 1.5


def main() -> None:
    django.setup()
    from django.conf import settings

    from contacts_write.commands import add
    from database_service.apply import apply
    from database_service.queries import get_contacts, list_contacts

    with sqlite3.connect(settings.CONTACTS.var / "contacts.sqlite3") as database:
        ids = [row[0] for row in database.execute("SELECT id FROM contact ORDER BY random() LIMIT 2000")]
    results = {}
    for size in (1, 100, 1000):
        commands = [
            [add(f"Ada {number}") for number in range(size)]
            for _ in range(max(20, 40_000 // size) if size > 1 else 4000)
        ]
        batches = iter(commands)
        results[f"apply_{size}"] = size * _rate(lambda batches=batches: apply(next(batches)), len(commands))
    results["contact"] = _rate(lambda: get_contacts([ids[time.perf_counter_ns() % len(ids)]]))
    results["contact_30"] = 30 * _rate(lambda: get_contacts(ids[:30]))
    results["list"] = _rate(lambda: list_contacts(10))
    print(json.dumps(results))


def _rate(work: Callable[[], object], most: int = 10_000_000) -> float:
    """How often a second it can be done, in so many seconds or so many times."""
    started = time.perf_counter()
    count = 0
    while count < most and time.perf_counter() - started < _DURATION:
        work()
        count += 1
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
