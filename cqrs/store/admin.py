"""The store's rows, to be looked at: only commands change them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from cqrs.aggregate import registry, verb_of
from cqrs.store.models import DatabaseIdentity, MalformedMessage, Notice, ParkedCommand
from cqrs.store.preview import asks_for
from protocol.cqrs_command_pb2 import Command

# Bytes of a payload that are shown.
_SHOWN = 2000


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Shows rows. Without counting all of them for the headline: there may be millions."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class CommittedWithin(admin.SimpleListFilter):
    """By age: listing the days there are would read every row."""

    title = "committed"
    parameter_name = "within"

    _hours = {"1": "in the last hour", "24": "in the last day", "168": "in the last 7 days"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self._hours.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (hours := self.value()) not in self._hours:
            return queryset
        return queryset.filter(committed_at__gte=datetime.now(UTC) - timedelta(hours=int(hours)))


class AggregateFilter(admin.SimpleListFilter):
    """By the aggregates that are declared: listing those in the rows would read every one."""

    title = "aggregate"
    parameter_name = "aggregate"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(each.name, each.label) for each in registry().values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(aggregate=self.value()) if self.value() in registry() else queryset


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    list_display = (
        *("number", "kind", "aggregate", "summary", "version", "reason", "message", "actor", "committed"),
        *("link", "command"),
    )
    list_filter = ("kind", "reason", AggregateFilter, CommittedWithin)
    search_fields = ("command_id__exact", "aggregate_id__exact", "summary__istartswith", "actor__exact")
    search_help_text = "the id of a command or of an aggregate, an actor, or how a summary begins"
    ordering = ("-number",)
    fields = (
        *("number", "kind", "reason", "message", "actor", "committed", "command", "command_kind", "depends_on"),
        *("aggregate", "link", "summary", "version", "shown_state"),
    )

    @admin.display(description="committed at (UTC)", ordering="number")
    def committed(self, row: Notice) -> str:
        return _moment(row.committed_at)

    @admin.display(description="state")
    def shown_state(self, row: Notice) -> SafeString | str:
        declared, state = registry().get(row.aggregate), bytes(row.state)
        return _parsed(declared.state, state) if declared and state else "-"

    @admin.display(description="id")
    def link(self, row: Notice) -> str:
        return _aggregate(row)

    @admin.display(description="command")
    def command(self, row: Notice) -> str:
        return _search("cqrs_command", row.command_id)


class CauseFilter(admin.SimpleListFilter):
    """By cause, with how many commands each has parked; the commonest first."""

    title = "cause"
    parameter_name = "cause"

    _shown = 50

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        causes = ParkedCommand.objects.values_list("cause").annotate(count=Count("pk")).order_by("-count", "cause")
        return [(cause, f"{cause} ({count})") for cause, count in causes[: self._shown]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(cause=self.value()) if self.value() else queryset


class WaitsFilter(admin.SimpleListFilter):
    """By whether a command failed itself, or follows when another ends."""

    title = "waits for another"
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "No: it failed"), ("yes", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("no", "yes"):
            return queryset
        return queryset.filter(behind="") if self.value() == "no" else queryset.exclude(behind="")


class ParkedCommandAdmin(ReadOnlyAdmin):
    """Registered by the site, with what an operator can do about them."""

    list_display = (
        *("command_id", "asks_for", "cause", "waits_for", "attempts", "tried", "next_attempt", "parked"),
        *("aggregate", "link", "notices"),
    )
    list_filter = (CauseFilter, WaitsFilter, AggregateFilter)
    search_fields = ("command_id__exact", "aggregate_id__exact", "behind__exact", "cause__icontains")
    search_help_text = "the id of a command or of an aggregate, or words of the cause"
    ordering = ("notice",)
    fields = (
        *(
            "command",
            "asks_for",
            "envelope",
            "body",
            "cause",
            "raised",
            "waits_for",
            "attempts",
            "tried",
            "next_attempt",
            "parked",
        ),
        *("aggregate", "link", "notices"),
    )

    @admin.display(description="command")
    def command(self, row: ParkedCommand) -> str:
        return _search("cqrs_command", row.command_id)

    @admin.display(description="envelope")
    def envelope(self, row: ParkedCommand) -> SafeString:
        command = Command.FromString(bytes(row.payload))
        command.ClearField("body")
        return format_html("<pre>{}</pre>", _text(command))

    @admin.display(description="body")
    def body(self, row: ParkedCommand) -> SafeString:
        command = Command.FromString(bytes(row.payload))
        verb = verb_of(command.kind)
        return _parsed(verb.body, command.body) if verb else _hexadecimal(command.body)

    @admin.display(description="error")
    def raised(self, row: ParkedCommand) -> SafeString | str:
        return format_html("<pre>{}</pre>", row.error) if row.error else "-"

    @admin.display(description="asks for")
    def asks_for(self, row: ParkedCommand) -> str:
        return asks_for(Command.FromString(bytes(row.payload)))

    @admin.display(description="failed last at (UTC)", ordering="tried_at")
    def tried(self, row: ParkedCommand) -> str:
        return _moment(row.tried_at)

    @admin.display(description="next attempt at (UTC)", ordering="next_attempt_at")
    def next_attempt(self, row: ParkedCommand) -> str:
        return _moment(row.next_attempt_at)

    @admin.display(description="parked at (UTC)", ordering="parked_at")
    def parked(self, row: ParkedCommand) -> str:
        return _moment(row.parked_at)

    @admin.display(description="waits for", ordering="behind")
    def waits_for(self, row: ParkedCommand) -> str:
        return _search("cqrs_parkedcommand", row.behind)

    @admin.display(description="id")
    def link(self, row: ParkedCommand) -> str:
        return _aggregate(row)

    @admin.display(description="notices")
    def notices(self, row: ParkedCommand) -> str:
        return _search("cqrs_notice", row.command_id, shown=str(row.notice))


@admin.register(MalformedMessage)
class MalformedMessageAdmin(ReadOnlyAdmin):
    list_display = ("received", "topic", "reason", "size")
    list_filter = ("topic",)
    search_fields = ("topic", "reason")
    ordering = ("-id",)
    fields = ("received", "topic", "reason", "size", "content")

    @admin.display(description="received at (UTC)", ordering="id")
    def received(self, row: MalformedMessage) -> str:
        return _moment(row.received_at)

    @admin.display(description="payload")
    def content(self, row: MalformedMessage) -> SafeString:
        return _hexadecimal(bytes(row.payload))


@admin.register(DatabaseIdentity)
class DatabaseIdentityAdmin(ReadOnlyAdmin):
    list_display = ("uuid", "created")
    fields = ("uuid", "created")

    @admin.display(description="created at (UTC)")
    def created(self, row: DatabaseIdentity) -> str:
        return _moment(row.created_at)


def _moment(time: datetime | None) -> str:
    """To the millisecond, as in the logs."""
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03}" if time else "-"


def _parsed(message: type[Message], payload: bytes) -> SafeString:
    """The fields of a message; its bytes where they are none of it."""
    try:
        return format_html("<pre>{}</pre>", _text(message.FromString(payload)))
    except DecodeError:
        return _hexadecimal(payload)


def _text(message: Message) -> str:
    return text_format.MessageToString(message, as_utf8=True)


def _hexadecimal(payload: bytes) -> SafeString:
    rest = f" … {len(payload) - _SHOWN} more" if len(payload) > _SHOWN else ""
    return format_html('<pre style="white-space: pre-wrap">{}{}</pre>', payload[:_SHOWN].hex(" "), rest)


def _aggregate(row: Notice | ParkedCommand) -> str:
    """The id of the row's aggregate, as a link to its own page where it has one."""
    declared = registry().get(row.aggregate)
    if declared is None:
        return row.aggregate_id or "-"
    options = declared.store.model._meta
    return _search(f"{options.app_label}_{options.model_name}", row.aggregate_id)


def _search(model: str, text: str, shown: str = "") -> str:
    """`text` as a link to the rows of another model that it finds; as it is where that is not in this admin."""
    if not text:
        return "-"
    try:
        changelist = reverse(f"admin:{model}_changelist")
    except NoReverseMatch:
        return shown or text
    return format_html('<a href="{}?{}">{}</a>', changelist, urlencode({"q": text}), shown or text)
