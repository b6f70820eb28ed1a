"""What the models of aggregates share: a field for times, and the columns that the kit keeps."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models

from protocol.rules import MAX_ID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class MillisecondsField(models.Field):  # type: ignore[type-arg]  # generic in the stubs alone
    """A time (UTC) kept as milliseconds since 1970: the same integer on every engine, and for SQL on the hot path."""

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def from_db_value(self, value: int | None, *_context: object) -> datetime | None:
        return None if value is None else _EPOCH + value * _MILLISECOND

    def to_python(self, value: Any) -> Any:
        return _EPOCH + value * _MILLISECOND if isinstance(value, int) else value

    def get_prep_value(self, value: Any) -> Any:
        return (value - _EPOCH) // _MILLISECOND if isinstance(value, datetime) else super().get_prep_value(value)


class AggregateRow(models.Model):
    """The columns that the kit keeps. A team's model adds one for each field of its state message."""

    id = models.CharField(primary_key=True, max_length=MAX_ID)
    last_updated = MillisecondsField(help_text="When the command that made it so was committed.")
    version = models.BigIntegerField(help_text="How many commands made it what it is; 1 when it was added.")
    added_by = models.BigIntegerField(
        db_index=True, help_text="Number of the notice of its adding: they are listed in this order."
    )

    class Meta:
        abstract = True
