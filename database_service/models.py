"""Contacts as they are now."""

from django.db import models

from cqrs.fields import AggregateRow
from protocol.rules import MAX_NAME


class Contact(AggregateRow):
    """A contact as it is now. Changed by commands alone."""

    name = models.CharField(max_length=MAX_NAME, help_text=f"1 to {MAX_NAME} characters, once trimmed.")

    class Meta:
        db_table = "contact"
        verbose_name = "contact"

    def __str__(self) -> str:
        return self.name
