"""Contacts in the admin: looked at in the database service's rows, changed by commands like everyone else's."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as ask_and_delete
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_protect

import contacts_write
from cqrs.journal.accepted import Accepted
from cqrs.journal.errors import CommandError
from database_service.models import Contact
from protocol.rules import MAX_NAME, name_error

admin.site.site_header = "Contacts"
admin.site.site_title = "Contacts"
admin.site.index_title = "What there is, and what became of commands"

# Contacts deleted by one action, at most: each is a command of its own.
MAX_DELETES = 1000


class ContactForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A contact's name, and the version it was shown with: who saves what another has changed since gets a conflict."""

    name = forms.CharField(max_length=MAX_NAME)
    shown_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Contact
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["shown_version"].initial = self.instance.version

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if error := name_error(name):
            raise forms.ValidationError(error)
        return name


class ChangedFilter(admin.SimpleListFilter):
    """Contacts that were changed lately."""

    title = "last change"
    parameter_name = "changed_within"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "in the last hour"), ("24", "in the last day"), ("168", "in the last week")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Contact]) -> QuerySet[Contact]:
        if value := self.value():
            return queryset.filter(last_updated__gte=datetime.now(UTC) - timedelta(hours=int(value)))
        return queryset


class UnchangedFilter(admin.SimpleListFilter):
    """Contacts as they were added, or changed since."""

    title = "changes"
    parameter_name = "changed"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "as added"), ("yes", "changed since")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Contact]) -> QuerySet[Contact]:
        match self.value():
            case "no":
                return queryset.filter(version=1)
            case "yes":
                return queryset.filter(version__gt=1)
        return queryset


@admin.register(Contact)
class ContactAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Shows contacts as stored; adding, changing and deleting queue commands in the user's name."""

    form = ContactForm
    readonly_fields = ["id", "version", "last_updated", "history"]
    list_display = ["name", "id", "version", "last_updated", "history"]
    list_filter = [ChangedFilter, UnchangedFilter]
    actions = ["delete_selected"]
    search_fields = ["name", "id__exact"]
    search_help_text = "Part of a name, or a whole id"
    ordering = ["-added_by"]
    # Counting all contacts for each page of some is the dearest query of the page.
    show_full_result_count = False

    def get_fields(self, _request: HttpRequest, obj: Contact | None = None) -> Any:
        return ["name"] if obj is None else ["name", "id", "version", "last_updated", "history", "shown_version"]

    @admin.display(description="history")
    def history(self, contact: Contact) -> str:
        """Links to what became of the contact's commands, and to the commands themselves."""
        return format_html(
            '<a href="{}">notices</a> · <a href="{}">commands</a>',
            _list_of("cqrs_notice", aggregate="contact", aggregate_id=contact.pk),
            _list_of("cqrs_command", aggregate="contact", aggregate_id=contact.pk),
        )

    # What the admin would write, it queues.

    def save_model(self, request: HttpRequest, obj: Contact, form: Any, change: bool) -> None:
        actor = request.user.get_username()
        if change:
            version = form.cleaned_data["shown_version"]
            _queue(
                request,
                "update",
                lambda: contacts_write.update_contact(obj.pk, obj.name, expected_version=version, actor=actor),
            )
        else:
            _queue(request, "add", lambda: contacts_write.add_contact(obj.name, actor=actor))

    def delete_model(self, request: HttpRequest, obj: Contact) -> None:
        contact_id, actor = obj.pk, request.user.get_username()
        _queue(request, "delete", lambda: contacts_write.delete_contact(contact_id, actor=actor))

    @admin.action(description="Delete selected contacts", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Contact]) -> HttpResponse | None:
        """Replaces Django's own action: asks as that does, then queues a delete for each."""
        if not request.POST.get("post"):
            return ask_and_delete(self, request, queryset)
        ids = list(queryset.values_list("pk", flat=True)[: MAX_DELETES + 1])
        if len(ids) > MAX_DELETES:
            self.message_user(request, f"At most {MAX_DELETES} contacts are deleted at once", messages.ERROR)
            return None
        actor = request.user.get_username()
        queued: list[Accepted] = []
        try:
            queued.extend(contacts_write.delete_contact(contact_id, actor=actor) for contact_id in ids)
        except CommandError as error:
            self.message_user(request, f"Not queued: {error}", messages.ERROR)
        if queued:
            text = format_html("Queued to delete {} contacts; the last {}.", len(queued), _when(queued[-1]))
            self.message_user(request, text, messages.SUCCESS)
        return None

    # Around it: no transaction on the database service's database, whose only writer that service is; no log entries,
    # since commands carry who sent them; no look at the contact, which is not there yet or is there still.

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        shown = {"show_save_and_continue": False, **(extra_context or {})}
        return self._changeform_view(request, object_id, form_url, shown)  # type: ignore[attr-defined]

    @method_decorator(csrf_protect)
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._delete_view(request, object_id, extra_context)  # type: ignore[attr-defined,no-any-return]

    def history_view(
        self, _request: HttpRequest, object_id: str, _extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return HttpResponseRedirect(_list_of("cqrs_notice", aggregate="contact", aggregate_id=object_id))

    def response_add(self, request: HttpRequest, _obj: Contact, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(request.path if "_addanother" in request.POST else self._changelist())

    def response_change(self, _request: HttpRequest, _obj: Contact) -> HttpResponse:
        return HttpResponseRedirect(self._changelist())

    def response_delete(self, _request: HttpRequest, _obj_display: str, _obj_id: int) -> HttpResponse:
        return HttpResponseRedirect(self._changelist())

    def log_addition(self, request: HttpRequest, obj: Contact, message: Any) -> Any:
        """Nothing: the command tells."""

    def log_change(self, request: HttpRequest, obj: Contact, message: Any) -> Any:
        """Nothing: the command tells."""

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Contact]) -> Any:
        """Nothing: the command tells."""

    def _changelist(self) -> str:
        return reverse("admin:database_service_contact_changelist", current_app=self.admin_site.name)


def _queue(request: HttpRequest, verb: str, send: Callable[[], Accepted]) -> None:
    """Sends a command and says that it is queued, or why it is not."""
    try:
        accepted = send()
    except CommandError as error:
        messages.error(request, f"Not queued: {error}")
    else:
        messages.success(request, format_html("Queued to {}; {}.", verb, _when(accepted)))


def _when(accepted: Accepted) -> SafeString:
    """When a command takes effect, with a link to it."""
    seconds = (accepted.takes_effect_at - datetime.now(UTC)).total_seconds()
    return format_html(
        'takes effect in {} s: <a href="{}">command {}</a>',
        f"{max(seconds, 0):.1f}",
        _list_of("cqrs_command", command_id=accepted.command_id),
        accepted.command_id,
    )


def _list_of(model: str, **conditions: str) -> str:
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(conditions)}"
