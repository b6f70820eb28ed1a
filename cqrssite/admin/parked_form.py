"""The form that amends a parked command, made from what its verb declares."""

from typing import Any

from django import forms
from django.contrib.admin.options import FORMFIELD_FOR_DBFIELD_DEFAULTS
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.db import models
from google.protobuf.message import DecodeError

from cqrs.aggregate import Effect, registry, verb_of
from cqrs.journal import commands
from cqrs.journal.errors import InvalidCommand
from cqrs.store.models import ParkedCommand
from protocol.cqrs_command_pb2 import Command


class AmendForm(forms.Form):
    """The arguments of a parked command and the version it expects. `notice`: of the parking that was looked at."""

    expected_version = forms.IntegerField(
        required=False, min_value=1, widget=AdminIntegerFieldWidget, help_text="The version it has to have; empty: any."
    )
    notice = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, row: ParkedCommand, data: Any = None) -> None:
        self.row = row
        self.command = Command.FromString(bytes(row.payload))
        initial: dict[str, Any] = {"notice": row.notice}
        if self.command.meta.HasField("expected_version"):
            initial["expected_version"] = self.command.meta.expected_version
        super().__init__(data)
        self.arguments = self._add_arguments(initial)
        self.initial = initial
        verb = verb_of(self.command.kind)
        if verb is None or verb.effect is Effect.CREATES:
            del self.fields["expected_version"]

    def _add_arguments(self, initial: dict[str, Any]) -> list[str]:
        """Adds a field for each argument, before the others; what the command says is its initial value."""
        verb = verb_of(self.command.kind)
        if verb is None:
            return []
        declared = registry()[verb.aggregate]
        names = declared.arguments(verb)
        for name in names:
            column = declared.store.columns.get(name)
            self.fields[name] = _field_of(column) if column is not None else forms.CharField(required=False)
        self.order_fields(names)
        try:
            body = verb.body.FromString(self.command.body)
        except DecodeError:
            return names  # it says nothing that can be shown
        initial.update((name, getattr(body, name)) for name in names)
        return names

    def clean(self) -> dict[str, Any]:
        """Also makes `amended`, the command as it would be."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                arguments, version = self.amendment(), self.cleaned_data.get("expected_version")
                self.amended = commands.amended(self.command, arguments, version)
            except InvalidCommand as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned

    def amendment(self) -> dict[str, Any]:
        """The arguments as they were given."""
        return {name: self.cleaned_data.get(name) for name in self.arguments}


def _field_of(column: "models.Field[Any, Any]") -> forms.Field:
    """The admin's own field for a column."""
    defaults: dict[str, Any] = next(
        (FORMFIELD_FOR_DBFIELD_DEFAULTS[kind] for kind in type(column).mro() if kind in FORMFIELD_FOR_DBFIELD_DEFAULTS),
        {},
    )
    made = column.formfield(**defaults)
    return made if made is not None else forms.CharField(required=False)
