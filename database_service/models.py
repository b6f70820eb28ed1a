"""Contacts as they are now."""

from django.db import models

from cqrs.fields import MillisecondsField
from protocol.rules import MAX_ID, MAX_NAME


class Contact(models.Model):
    """A contact as it is now. Changed by commands alone."""

    id = models.CharField(primary_key=True, max_length=MAX_ID)
    name = models.CharField(max_length=MAX_NAME)
    last_updated = MillisecondsField(help_text="When the command that made it so was committed.")
    version = models.BigIntegerField(help_text="How many commands made it what it is; 1 when it was added.")
    added_by = models.BigIntegerField(
        db_index=True, help_text="Number of the notice of its adding: contacts are listed in this order."
    )

    class Meta:
        db_table = "contact"
        verbose_name = "contact"

    def __str__(self) -> str:
        return self.name
