"""Contacts put into the database by SQL, with the notices of their adding, as if commands had added them."""

import os
import sqlite3
import time
from pathlib import Path

# A name as people have it, in characters.
_NAME = "'Contact number ' || i"
# A UUID of version 4, as text: ids in no order, which is the most that reading them can cost.
_UUID = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' ||"
    " substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
)
# Notice.ADDED
_ADDED = 1


def seed(var: Path, count: int) -> None:
    """Adds so many contacts to the database in this folder, which must be migrated and not in use."""
    now = int(time.time() * 1000)
    with sqlite3.connect(var / "contacts.sqlite3") as database:
        database.execute("PRAGMA synchronous=OFF")
        # The states are left out: no benchmark reads so far back in the history.
        database.execute(
            f"""INSERT INTO notice (number, command_id, kind, aggregate, command_kind, aggregate_id, state, version,
                                    summary, message, reason, actor, depends_on, committed_at)
                WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?)
                SELECT i, 'seeded-' || printf('%012d', i), ?, 'contact', 'contact.add', {_UUID}, x'', 1, {_NAME},
                       '', 0, '', '', ? FROM numbers""",
            (count, _ADDED, now),
        )
        database.execute(
            "INSERT INTO contact (id, name, last_updated, version, added_by)"
            " SELECT aggregate_id, summary, committed_at, version, number FROM notice"
        )
    database.close()
    # Or the system writes it while what comes next is measured.
    os.sync()


def sample_ids(var: Path, file: Path, most: int = 10_000) -> Path:
    """Writes the ids of random contacts to a file, one a line."""
    with sqlite3.connect(var / "contacts.sqlite3") as database:
        ids = database.execute("SELECT id FROM contact ORDER BY random() LIMIT ?", (most,)).fetchall()
    database.close()
    file.write_text("".join(f"{contact_id}\n" for (contact_id,) in ids))
    return file
