"""The store's rows beside those of aggregates: notices, parked commands, malformed messages, the identity."""

import uuid

from django.db import models

from cqrs.fields import MillisecondsField
from protocol.cqrs_notice_pb2 import Notice as NoticeMessage
from protocol.rules import MAX_ID

# Texts of ours are cut to this, in characters, so that the largest batch of notices fits in a message.
MAX_MESSAGE_TEXT = 500
MAX_SUMMARY = 200
MAX_ACTOR = 150
MAX_KIND = 100
MAX_ERROR = 5_000
MAX_PAYLOAD = 65_536


class Kind(models.IntegerChoices):
    """The outcome of a command, by the numbers of the protocol."""

    ADDED = NoticeMessage.ADDED, "added"
    UPDATED = NoticeMessage.UPDATED, "updated"
    DELETED = NoticeMessage.DELETED, "deleted"
    REJECTED = NoticeMessage.REJECTED, "rejected"
    CANCELLED = NoticeMessage.CANCELLED, "cancelled"
    PARKED = NoticeMessage.PARKED, "parked"
    DISCARDED = NoticeMessage.DISCARDED, "discarded"


class Reason(models.IntegerChoices):
    """Why a command was rejected, by the numbers of the protocol."""

    NONE = NoticeMessage.NONE, "-"
    NOT_FOUND = NoticeMessage.NOT_FOUND, "not found"
    CONFLICT = NoticeMessage.CONFLICT, "conflict"
    INVALID = NoticeMessage.INVALID, "invalid"


# All but PARKED: nothing follows on one of these.
FINAL = sorted(kind.value for kind in Kind if kind is not Kind.PARKED)


class Notice(models.Model):
    """The outcome of a command, written in the transaction of its effect and never changed.

    Numbers are contiguous, so that a reader knows that none is missing. The newest is always kept: the next
    number is one more.
    """

    number = models.BigIntegerField(primary_key=True)
    command_id = models.CharField("command", max_length=MAX_ID)
    kind = models.SmallIntegerField(choices=Kind)
    aggregate = models.CharField(max_length=MAX_KIND, help_text="For example contact.")
    command_kind = models.CharField("kind of command", max_length=MAX_KIND, help_text="For example contact.add.")
    aggregate_id = models.CharField("id", max_length=MAX_ID, blank=True)
    state = models.BinaryField(
        default=b"", help_text="The aggregate's state message, serialized. Empty: there is none to show."
    )
    version = models.BigIntegerField(default=0, help_text="Of the state; 0: there is none.")
    summary = models.CharField(max_length=MAX_SUMMARY, blank=True, help_text="The state in one line.")
    message = models.CharField(max_length=MAX_MESSAGE_TEXT, blank=True)
    reason = models.SmallIntegerField(choices=Reason, default=Reason.NONE)
    actor = models.CharField(max_length=MAX_ACTOR, blank=True)
    depends_on = models.CharField(
        max_length=MAX_ID,
        blank=True,
        help_text="The command it had to follow. Of a cancelled one: what was not settled yet, so that "
        "commands that depend on the cancelled one wait for that instead.",
    )
    committed_at = MillisecondsField("committed at")

    class Meta:
        db_table = "notice"
        verbose_name = "notice"
        constraints = [
            # The one index by command: it is what makes a known command known, hence asked with the same condition.
            models.UniqueConstraint(
                fields=["command_id"], condition=models.Q(kind__in=FINAL), name="notice_one_final_per_command"
            )
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.get_kind_display()} {self.aggregate} {self.summary or self.aggregate_id}"


class ParkedCommand(models.Model):
    """A command that failed for a defect, or that waits behind one: retried for a while, then left to a person.

    The number of rows is bounded: a parked command is unsettled in the journal that sent it, and a journal refuses new
    commands at its limit of unsettled ones. A foreign client's commands have no journal; each one of them is logged.
    """

    command_id = models.CharField("command", primary_key=True, max_length=MAX_ID)
    aggregate = models.CharField(max_length=MAX_KIND)
    aggregate_id = models.CharField("id", max_length=MAX_ID, blank=True)
    payload = models.BinaryField(
        help_text="The command, a serialized cqrs.Command. It depends on the command it was parked behind, if any."
    )
    cause = models.CharField(max_length=MAX_MESSAGE_TEXT, db_index=True, help_text="Equal where the defect is equal.")
    error = models.TextField(help_text="What was raised, and where.")
    behind = models.CharField(
        max_length=MAX_ID,
        blank=True,
        db_index=True,
        help_text="The parked command it waits for; empty: its own defect.",
    )
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="How often it was tried again since it was parked, or since an operator had it tried."
    )
    next_attempt_at = MillisecondsField(
        "next attempt at", null=True, db_index=True, help_text="Empty: it is not tried by itself."
    )
    parked_at = MillisecondsField("parked at")
    tried_at = MillisecondsField("tried at", null=True, help_text="When it failed last.")
    notice = models.BigIntegerField(
        "notice number",
        help_text="Number of the newest notice of its parking: what an operator decides answers this one.",
    )

    class Meta:
        db_table = "parked_command"
        verbose_name = "parked command"

    def __str__(self) -> str:
        return f"{self.command_id}: {self.cause}"


class MalformedMessage(models.Model):
    """A message from the broker that is no command. The last 1,000 are kept."""

    topic = models.CharField(max_length=200)
    payload = models.BinaryField(help_text="Cut to its first 65,536 bytes.")
    size = models.BigIntegerField("bytes", help_text="Bytes it had before it was cut.")
    reason = models.CharField(max_length=MAX_MESSAGE_TEXT)
    received_at = MillisecondsField("received at")

    class Meta:
        db_table = "malformed_message"
        verbose_name = "malformed message"

    def __str__(self) -> str:
        return f"{self.topic}: {self.reason}"


class DatabaseIdentity(models.Model):
    """Names this database, so that positions in its history are not taken for positions in another's. One row."""

    ROW = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ROW, editable=False)
    uuid = models.CharField("identity", max_length=36, default=uuid.uuid4, editable=False)
    created_at = MillisecondsField("created at")

    class Meta:
        db_table = "database_identity"
        verbose_name = "database identity"
        verbose_name_plural = "database identity"

    def __str__(self) -> str:
        return str(self.uuid)
