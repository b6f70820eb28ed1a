"""The stock project's database, made without Django: this process has other settings."""

import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path


def make(file: Path, ids: Path, count: int) -> Path:
    """Makes the database with so many contacts and writes their ids to a file, one a line."""
    now = datetime.now(UTC)
    rows = [
        (str(uuid.uuid4()), f"Contact number {number}", *[str(now + timedelta(milliseconds=number))[:-6]] * 2)
        for number in range(1, count + 1)
    ]
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(
            "CREATE TABLE stock_contact (id varchar(100) NOT NULL PRIMARY KEY, name varchar(200) NOT NULL,"
            " last_updated datetime NOT NULL, created datetime NOT NULL)"
        )
        database.execute("CREATE INDEX stock_contact_created ON stock_contact (created)")
        database.executemany("INSERT INTO stock_contact VALUES (?, ?, ?, ?)", rows)
    database.close()
    ids.write_text("".join(f"{row[0]}\n" for row in rows))
    return ids
