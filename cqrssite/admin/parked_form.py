"""The form that amends a parked command."""

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget

from cqrs.journal import commands
from cqrs.journal.errors import InvalidCommand
from cqrs.store.models import ParkedCommand
from protocol.contact_write_pb2 import Command
from protocol.rules import MAX_NAME


class AmendForm(forms.Form):
    """What of a parked command can be made otherwise. `notice`: of the parking that was looked at."""

    name = forms.CharField(max_length=MAX_NAME, widget=AdminTextInputWidget)
    expected_version = forms.IntegerField(
        required=False,
        min_value=1,
        widget=AdminIntegerFieldWidget,
        help_text="The version the contact has to have; empty: any.",
    )
    notice = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, row: ParkedCommand, data: Any = None) -> None:
        self.row = row
        self.command = Command.FromString(bytes(row.payload))
        body = commands.body_of(self.command)
        initial: dict[str, Any] = {"notice": row.notice}
        if not self.command.HasField("delete"):
            initial["name"] = getattr(body, "name", "")
        if body.meta.HasField("expected_version"):
            initial["expected_version"] = body.meta.expected_version
        super().__init__(data, initial=initial)
        if self.command.HasField("delete"):
            del self.fields["name"]
        if self.command.HasField("add"):
            del self.fields["expected_version"]

    def clean(self) -> dict[str, Any]:
        """Also makes `amended`, the command as it would be."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                self.amended = commands.amended(self.command, **self.amendment())
            except InvalidCommand as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned

    def amendment(self) -> dict[str, Any]:
        """What differs, as arguments of `contacts_write.amend_command`."""
        return {field: value for field, value in self.cleaned_data.items() if field in ("name", "expected_version")}
