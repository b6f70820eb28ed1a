"""Commands in the admin: to be looked at and cancelled. Nothing is edited here; the journal is a record."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import BinaryField, BooleanField, Func, QuerySet, Value
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.http import urlencode

from cqrs.aggregate import registry
from cqrs.journal import api
from cqrs.journal.errors import NotCancellable
from cqrs.journal.models import Command
from cqrs.journal.summary import summary

# Rows the pages of a list reach; searching reaches all.
MAX_COUNT = 10_000
# Commands that one action cancels.
MAX_CANCELS = 1000


class _BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts no further than can be paged through: counting millions takes seconds."""

    @cached_property
    def count(self) -> int:
        return len(self.object_list[:MAX_COUNT].values_list("pk"))  # type: ignore[attr-defined]  # a QuerySet


class _Contains(Func):
    """Whether bytes contain others. SQLite's INSTR takes bytes, PostgreSQL has POSITION for them."""

    function = "INSTR"
    template = "(%(function)s(%(expressions)s) > 0)"
    output_field = BooleanField()

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        swapped = self.copy()
        swapped.set_source_expressions(self.get_source_expressions()[::-1])
        return swapped.as_sql(compiler, connection, function="POSITION", arg_joiner=" IN ")


class _KindFilter(admin.SimpleListFilter):
    """By kind, from the declarations: listing what the rows have would read them all."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, _request: HttpRequest, _admin: object) -> Sequence[tuple[str, str]]:
        kinds = [verb.kind for aggregate in registry().values() for verb in aggregate.verbs.values()]
        return [(kind, kind) for kind in kinds]

    def queryset(self, _request: HttpRequest, commands: QuerySet[Command]) -> QuerySet[Command]:
        if not self.value():
            return commands
        aggregate, _, verb = str(self.value()).partition(".")
        return commands.filter(aggregate=aggregate, verb=verb)


@admin.register(Command)
class CommandAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    list_display = [
        "command_id",
        "aggregate",
        "verb",
        "aggregate_link",
        "summary",
        "state",
        "reason",
        "actor",
        "accepted_at",
        "settled_at",
    ]
    list_filter = ["state", _KindFilter]
    search_fields = ["=command_id", "=aggregate_id", "=actor"]
    search_help_text = (
        "A command id, id or actor as it is, or part of an argument, upper and lower case as it has them."
    )
    ordering = ["-number"]
    fields = [
        *(field.name for field in Command._meta.fields if not isinstance(field, BinaryField)),
        "summary",
        "aggregate_link",
        "notices",
    ]
    readonly_fields = ["summary", "aggregate_link", "notices"]
    paginator = _BoundedPaginator
    show_full_result_count = False
    actions = ["cancel"]

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _command: Command | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _command: Command | None = None) -> bool:
        return False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whoever may change commands may cancel them."""
        return request.user.has_perm("cqrs.change_command")

    def get_search_results(
        self, request: HttpRequest, commands: QuerySet[Command], search_term: str
    ) -> tuple[QuerySet[Command], bool]:
        found, may_repeat = super().get_search_results(request, commands, search_term)
        if term := search_term.strip():
            part = Value(term.encode("utf-8", "replace"), output_field=BinaryField())
            found = found | commands.filter(_Contains("body", part))
        return found, may_repeat

    @admin.display(description="arguments")
    def summary(self, command: Command) -> str:
        return summary(command.kind, bytes(command.amended_body or command.body))

    @admin.display(description="id", ordering="aggregate_id")
    def aggregate_link(self, command: Command) -> str:
        declared = registry().get(command.aggregate)
        if declared is None:
            return command.aggregate_id
        model = declared.store.model._meta
        return _search(f"admin:{model.app_label}_{model.model_name}_changelist", command.aggregate_id)

    @admin.display(description="notices")
    def notices(self, command: Command) -> str:
        return _search("admin:cqrs_notice_changelist", command.command_id)

    @admin.action(description="Cancel selected commands", permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Command]) -> None:
        """Requests that each be voided, and reports how many were too late."""
        asked, late = 0, []
        for command_id in chosen.values_list("command_id", flat=True)[:MAX_CANCELS]:
            try:
                api.cancel_command(command_id, actor=request.user.get_username())
                asked += 1
            except NotCancellable as error:
                late.append(str(error))
        if asked:
            text = f"The cancel of {asked} commands is on its way; each takes effect unless it comes first."
            messages.success(request, text.replace("1 commands", "1 command") if asked == 1 else text)
        if late:
            more = f" ({len(late) - 1} more were too late)" if len(late) > 1 else ""
            messages.warning(request, f"Too late: {late[0]}{more}.")


def _search(view: str, value: str) -> str:
    """A link to the list of another part, searched for `value`; without a link where that part is not installed."""
    try:
        url = reverse(view)
    except NoReverseMatch:
        return value
    return format_html('<a href="{}?{}">{}</a>', url, urlencode({"q": value}), value)
