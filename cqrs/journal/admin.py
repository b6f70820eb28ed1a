"""Commands in the admin: to be looked at and cancelled. Nothing is edited here; the journal is a record."""

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.http import urlencode

from contacts_write import api
from cqrs.journal.errors import NotCancellable
from cqrs.journal.models import Command

# Rows the pages of a list reach; searching reaches all.
MAX_COUNT = 10_000
# Commands that one action cancels.
MAX_CANCELS = 1000


class _BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts no further than can be paged through: counting millions takes seconds."""

    @cached_property
    def count(self) -> int:
        return len(self.object_list[:MAX_COUNT].values_list("pk"))  # type: ignore[attr-defined]  # a QuerySet


@admin.register(Command)
class CommandAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    list_display = ["command_id", "kind", "contact", "name", "state", "reason", "actor", "accepted_at", "settled_at"]
    list_filter = ["state", "kind"]
    search_fields = ["=command_id", "=contact_id", "=actor", "name"]
    search_help_text = "A command id, contact id or actor as it is, or part of a name."
    ordering = ["-number"]
    fields = [*(field.name for field in Command._meta.fields), "contact", "notices"]
    readonly_fields = ["contact", "notices"]
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

    @admin.display(description="contact", ordering="contact_id")
    def contact(self, command: Command) -> str:
        return _search("admin:database_service_contact_changelist", command.contact_id)

    @admin.display(description="notices")
    def notices(self, command: Command) -> str:
        return _search("admin:cqrs_notice_changelist", command.command_id)

    @admin.action(description="Cancel selected commands", permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Command]) -> None:
        """Asks for each that it be withdrawn, and says how many were too late."""
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
