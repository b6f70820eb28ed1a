"""Whether the journal can be written, found out by writing it: a full disk still reads."""

import time

from django.db import models
from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows


class WriteCheck(models.Model):
    """One row, written by every check."""

    ROW = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ROW, editable=False)
    checked_at = models.BigIntegerField(help_text="seconds since 1970")

    def __str__(self) -> str:
        return str(self.checked_at)


def write(cursor: CursorWrapper) -> None:
    """Writes the row, and asks for the right to change commands; raises what the database raises."""
    cursor.execute(
        f"INSERT INTO {WriteCheck._meta.db_table} (id, checked_at) VALUES (%s, %s)"
        " ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at",
        [WriteCheck.ROW, int(time.time())],
    )
    # No row has this number; the right is checked all the same.
    cursor.execute(f"UPDATE {rows.TABLE} SET message = message WHERE number = 0")
