"""The journal's rows."""

from django.db import models
from django.db.models import Q

from protocol.rules import MAX_ID

MAX_MESSAGE = 1000

_UNSETTLED = Q(settled_at__isnull=True)


class Command(models.Model):
    """A command that was accepted, and what is known of its end."""

    class State(models.TextChoices):
        QUEUED = "QUEUED", "queued"
        PARKED = "PARKED", "parked"
        APPLIED = "APPLIED", "applied"
        REJECTED = "REJECTED", "rejected"
        CANCELLED = "CANCELLED", "cancelled"
        DISCARDED = "DISCARDED", "discarded"
        HANDED_OVER = "HANDED_OVER", "handed over"

    class Reason(models.TextChoices):
        NOT_FOUND = "NOT_FOUND", "not found"
        CONFLICT = "CONFLICT", "conflict"
        INVALID = "INVALID", "invalid"

    class Operation(models.TextChoices):
        RETRY = "RETRY", "retry"
        AMEND = "AMEND", "amend"
        DISCARD = "DISCARD", "discard"

    number = models.BigAutoField("number", primary_key=True, help_text="in order; under 0: no gateway has it yet")
    command_id = models.CharField("command id", max_length=100, unique=True)
    aggregate = models.CharField(max_length=100)
    verb = models.CharField(max_length=100)
    aggregate_id = models.CharField("id", max_length=MAX_ID, help_text="of the aggregate")
    body = models.BinaryField(help_text="the message of its arguments, as it was accepted")
    expected_version = models.BigIntegerField(null=True, blank=True)
    actor = models.CharField(max_length=150, blank=True, help_text="who sent it")
    depends_on = models.CharField(
        max_length=100, blank=True, help_text="the command of the same aggregate and id that has to be settled before"
    )
    accepted_at = models.DateTimeField()
    takes_effect_at = models.DateTimeField()
    owner = models.CharField(
        max_length=100,
        blank=True,
        help_text="the gateway process that sends it; empty: none yet, it was accepted outside of a gateway",
    )
    state = models.CharField(max_length=11, choices=State.choices, default=State.QUEUED)
    message = models.CharField(max_length=MAX_MESSAGE, blank=True, help_text="what happened, or why not")
    reason = models.CharField(max_length=9, blank=True, choices=Reason.choices, help_text="why it was rejected")
    version = models.BigIntegerField(null=True, blank=True, help_text="the aggregate's, when the command was settled")
    settled_at = models.DateTimeField(null=True, blank=True)
    notice_number = models.BigIntegerField(
        "notice number",
        null=True,
        blank=True,
        help_text="of the notice of its end, in the tracked history: the order of the effects",
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.CharField(max_length=150, blank=True)
    sent_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="when the broker acknowledged it; recorded only where it must not be sent twice",
    )
    # Defaults of the database, since what is accepted names only the columns that it fills.
    operation = models.CharField(
        max_length=7,
        blank=True,
        choices=Operation.choices,
        default="",
        db_default="",
        help_text="what an operator decided last about it while it was parked",
    )
    operation_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    operation_at = models.DateTimeField(null=True, blank=True)
    operation_notice = models.BigIntegerField(
        null=True, blank=True, help_text="number of the notice of the parking that the operation answers"
    )
    operation_open = models.BooleanField(
        default=False, db_default=False, help_text="whether the operation is on its way: no newer notice was heard"
    )
    amended_body = models.BinaryField(
        null=True, blank=True, help_text="the body that it is sent with since an operator amended it"
    )
    amended_version = models.BigIntegerField(null=True, blank=True, help_text="the expected version as amended")

    class Meta:
        ordering = ["-number"]
        # All but the last hold nothing but what is unsettled: small, whatever the journal keeps. None is by
        # aggregate: these ids come in no order, so each command would write a page of its own, twice, which is most of
        # a commit.
        indexes = [
            models.Index(fields=["owner", "number"], condition=_UNSETTLED, name="command_unsettled_owner"),
            models.Index(fields=["takes_effect_at", "number"], condition=_UNSETTLED, name="command_unsettled_due"),
            models.Index(
                fields=["number"],
                condition=_UNSETTLED & Q(cancel_requested_at__isnull=False),
                name="command_unsettled_cancel",
            ),
            models.Index(
                fields=["operation_at"],
                condition=_UNSETTLED & Q(operation_open=True),
                name="command_unsettled_operation",
            ),
            models.Index(fields=["settled_at"], condition=~_UNSETTLED, name="command_settled"),
        ]

    def __str__(self) -> str:
        return self.command_id

    @property
    def kind(self) -> str:
        """As it travels: "contact.add"."""
        return f"{self.aggregate}.{self.verb}"


class TrackedHistory(models.Model):
    """The database whose history all gateways of this journal track, and how far they have seen it. One row."""

    ROW = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ROW, editable=False)
    generation = models.BigIntegerField(help_text="one more each time that another history was tracked")
    database = models.CharField("identity", max_length=100)
    number = models.BigIntegerField("number", help_text="of the furthest notice seen; 0: none was yet")
    position = models.CharField(max_length=100, help_text="of the furthest notice seen, or where it was begun")
    memory = models.BooleanField(help_text="whether its history ends with its process, which is no loss")
    lost_at = models.DateTimeField(
        null=True, blank=True, help_text="when another history was found in its place: publishing pauses since then"
    )
    lost_why = models.CharField(max_length=MAX_MESSAGE, blank=True)
    # What a redrive found out about the database in its place; kept, since what is sent again blurs it.
    common_number = models.BigIntegerField(
        null=True, blank=True, help_text="of the last notice that both histories have"
    )
    common_position = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = "tracked history"
        verbose_name_plural = "tracked histories"

    def __str__(self) -> str:
        return self.database
