"""Parked commands in the admin: grouped by cause, and what an operator decides about them, which is queued."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from cqrs.aggregate import registry
from cqrs.journal.accepted import Accepted
from cqrs.journal.api import amend_command, discard_command, retry_command, together
from cqrs.journal.errors import CommandError, NotOperable
from cqrs.store.admin import ParkedCommandAdmin
from cqrs.store.decide import after
from cqrs.store.models import ParkedCommand
from cqrs.store.preview import Preview, asks_for, preview
from cqrssite.admin.parked_form import AmendForm
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice

# Commands decided about at once. Each is a field of the form; Django takes 1,000.
MAX_OPERATED = 500
# Those of them whose preview is shown.
MAX_SHOWN = 100


@admin.register(ParkedCommand)
class OperatedParkedCommandAdmin(ParkedCommandAdmin):
    """Shows what would become of commands, then queues what is decided about them in the user's name."""

    actions = ["retry", "discard"]
    change_form_template = "admin/cqrs/parkedcommand/change_form.html"

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whoever may change parked commands may decide about them."""
        return request.user.has_perm("cqrs.change_parkedcommand")

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return (*shown[:4], "amend", *shown[4:]) if self.has_operate_permission(request) else shown

    @admin.display(description="amend")
    def amend(self, row: ParkedCommand) -> str:
        return format_html('<a href="{}">amend</a>', reverse("admin:amend_parked", args=[row.pk]))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<str:command_id>/amend/", view(self.amend_view), name="amend_parked"),
            path("<str:command_id>/decide/", view(self.decide_view), name="decide_parked"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["may_operate"] = self.has_operate_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)

    # Both actions show first what would become of the commands.

    @admin.action(
        description="Retry selected commands (shows first what would become of them)", permissions=["operate"]
    )
    def retry(self, request: HttpRequest, queryset: QuerySet[ParkedCommand]) -> HttpResponse | None:
        if "seen" not in request.POST:
            return self._ask(request, queryset)
        rows = self._as_seen(request, queryset)
        following = [row for row in rows if row.behind]
        if following:
            text = f"{_many(len(following))} not retried: they wait for another and follow when that ends."
            messages.warning(request, text)
        self._queue(request, "retry", retry_command, [row for row in rows if not row.behind])
        return None

    @admin.action(description="Discard selected commands (asks first)", permissions=["operate"])
    def discard(self, request: HttpRequest, queryset: QuerySet[ParkedCommand]) -> HttpResponse | None:
        if "seen" not in request.POST:
            return self._ask(request, queryset)
        rows = self._as_seen(request, queryset)
        self._queue(request, "discard", discard_command, rows)
        return None

    def decide_view(self, request: HttpRequest, command_id: str) -> HttpResponse:
        """The page of the actions for one command."""
        row = self._row(request, command_id)
        if row is None:
            return self._no_longer(request, command_id)
        return self._ask(request, ParkedCommand.objects.filter(pk=row.pk))

    def amend_view(self, request: HttpRequest, command_id: str) -> HttpResponse:
        """A form for what can be made otherwise; shows what would become of the command, then queues it."""
        row = self._row(request, command_id)
        if row is None:
            return self._no_longer(request, command_id)
        form = AmendForm(row, request.POST or None)
        changed = bool(form.is_bound and form.is_valid())
        if changed and "_amend" in request.POST and self._amend(request, row, form):
            return HttpResponseRedirect(reverse("admin:cqrs_parkedcommand_changelist"))
        previews = preview([row], {row.command_id: form.amended} if changed else None)
        context = self._context(request, "Amend a parked command") | {
            "form": form,
            "row": row,
            "previews": [_shown(each) for each in previews],
            "changed": changed,
        }
        return TemplateResponse(request, "admin/cqrs/parkedcommand/amend.html", context)

    def _amend(self, request: HttpRequest, row: ParkedCommand, form: AmendForm) -> bool:
        notice, actor = form.cleaned_data["notice"], request.user.get_username()
        if notice != row.notice:
            messages.warning(request, "It was tried or decided about since you looked: look again.")
            return False
        try:
            version = form.cleaned_data.get("expected_version")
            accepted = amend_command(form.command, notice, expected_version=version, actor=actor, **form.amendment())
        except CommandError as error:
            messages.error(request, f"Not queued: {error}")
            return False
        messages.success(request, _queued("amend", [accepted]))
        return True

    def _ask(self, request: HttpRequest, queryset: QuerySet[ParkedCommand]) -> TemplateResponse:
        rows = list(queryset.order_by("notice")[: MAX_OPERATED + 1])
        if len(rows) > MAX_OPERATED:
            rows.pop()
            messages.warning(request, f"Only the first {MAX_OPERATED}: decide about them, then about the rest.")
        previews = preview(rows)
        counts = Counter(_summary(each) for each in previews)
        context = self._context(request, "What would become of them, tried now") | {
            "rows": rows,
            "retriable": sum(not row.behind for row in rows),
            "seen": " ".join(f"{row.command_id} {row.notice}" for row in rows),
            "previews": [_shown(each) for each in previews[:MAX_SHOWN]],
            "unshown": max(0, len(previews) - MAX_SHOWN),
            "counts": counts.most_common(),
            "changelist": reverse("admin:cqrs_parkedcommand_changelist"),
        }
        return TemplateResponse(request, "admin/cqrs/parkedcommand/decide.html", context)

    def _as_seen(self, request: HttpRequest, queryset: QuerySet[ParkedCommand]) -> list[ParkedCommand]:
        """Those of the commands that are parked as they were when the user looked; says so if others are not."""
        said = iter(request.POST["seen"].split())
        seen = dict(zip(said, said, strict=False))
        rows = [row for row in queryset.order_by("notice") if seen.get(row.command_id) == str(row.notice)]
        if gone := len(seen) - len(rows):
            text = f"{_many(gone)} left alone: they ended, were tried or decided about since you looked."
            messages.warning(request, text)
        return rows

    def _queue(self, request: HttpRequest, verb: str, decide: Any, rows: Iterable[ParkedCommand]) -> None:
        actor = request.user.get_username()
        queued: list[Accepted] = []
        refused: list[str] = []
        try:
            with together():
                for row in rows:
                    try:
                        queued.append(decide(Command.FromString(bytes(row.payload)), row.notice, actor=actor))
                    except NotOperable as error:
                        refused.append(str(error))
        except CommandError as error:
            messages.error(request, f"Nothing is queued: {error}")
            return
        if queued:
            messages.success(request, _queued(verb, queued))
        if refused:
            more = f" ({len(refused) - 1} more alike)" if len(refused) > 1 else ""
            messages.warning(request, f"Not queued: {refused[0]}{more}.")

    def _row(self, request: HttpRequest, command_id: str) -> ParkedCommand | None:
        if not self.has_operate_permission(request):
            raise PermissionDenied
        return ParkedCommand.objects.filter(pk=command_id).first()

    def _no_longer(self, request: HttpRequest, command_id: str) -> HttpResponse:
        """To the list, with where to see what became of it: it may have ended while it was looked at."""
        link = f"{reverse('admin:cqrs_command_changelist')}?{urlencode({'q': command_id})}"
        text = format_html('Not parked (any more): <a href="{}">command {}</a>.', link, command_id)
        messages.warning(request, text)
        return HttpResponseRedirect(reverse("admin:cqrs_parkedcommand_changelist"))

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": ParkedCommand._meta}


def _queued(verb: str, accepted: Sequence[Accepted]) -> str:
    """That it is queued, with a link to the commands, where what came of it will be seen."""
    ids = ",".join(each.command_id for each in accepted)
    link = f"{reverse('admin:cqrs_command_changelist')}?{urlencode({'command_id__in': ids})}"
    if len(accepted) == 1:
        return format_html('Queued to {} <a href="{}">command {}</a>.', verb, link, accepted[0].command_id)
    if len(accepted) > 50:  # a longer address is refused by some servers
        link = reverse("admin:cqrs_command_changelist")
    return format_html('Queued to {} <a href="{}">{} commands</a>.', verb, link, len(accepted))


def _many(count: int) -> str:
    return "1 command is" if count == 1 else f"{count} commands are"


def _summary(each: Preview) -> str:
    """What would become of a command, in the words by which such are counted."""
    if each.waits_for:
        return "would wait for another"
    if each.outcome is None:
        return "would fail again"
    return f"would be {Notice.Kind.Name(each.outcome.kind).lower()}"


def _shown(each: Preview) -> dict[str, Any]:
    """A preview as the templates show it: the aggregate as it is, and as it would be."""
    would = after(each.state, each.outcome) if each.outcome else each.state
    declared = registry().get(each.parked.aggregate)

    def summary(state: Any) -> str:
        return "" if state is None or declared is None else declared.summary(state)

    return {
        "command_id": each.parked.command_id,
        "cause": each.parked.cause,
        "asks_for": asks_for(each.command),
        "is": each.state,
        "is_summary": summary(each.state),
        "would": would,
        "would_summary": summary(would),
        "changes": would is not each.state,
        "summary": _summary(each),
        "why": each.error or (each.outcome.message if each.outcome and each.outcome.kind == Notice.REJECTED else ""),
        "waits_for": each.waits_for,
    }
