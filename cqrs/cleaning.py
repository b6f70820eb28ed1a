"""What the arguments of a command have to be, by the model's fields of the same names.

Texts are trimmed, as Django's forms trim them. The rules of a field (blank, max_length, validators) are checked where a
command is accepted, so that its sender gets the error at once, and again where it is decided, since a foreign client
may have sent it.
"""

from __future__ import annotations  # Django's fields are generic in their stubs alone

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from protocol.rules import text_error

# Trims the texts of a message in place; why it is not as it has to be (a sentence), or None.
Clean: TypeAlias = Callable[[Any], str | None]


def cleaner(message: type[Message], columns: Mapping[str, models.Field[Any, Any]], without: Collection[str]) -> Clean:
    """Cleans messages of this class, but for the fields named in `without`."""
    checks = [
        _check(each, columns.get(each.name))
        for each in message.DESCRIPTOR.fields
        if each.name not in without and each.message_type is None and not each.is_repeated
    ]

    def clean(body: Any) -> str | None:
        for check in checks:
            if error := check(body):
                return error
        return None

    return clean


def _check(field: Any, column: models.Field[Any, Any] | None) -> Clean:
    name, has_presence = field.name, field.has_presence
    is_text = field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type == FieldDescriptor.TYPE_STRING
    is_multiline = isinstance(column, models.TextField)
    longest = getattr(column, "max_length", None)
    may_be_empty = column is None or column.blank
    validators = [each for each in (column.validators if column else ()) if not isinstance(each, MaxLengthValidator)]

    def check(body: Any) -> str | None:
        if has_presence and not body.HasField(name):
            return None
        value = getattr(body, name)
        if is_text:
            trimmed = value.strip()
            if trimmed != value:
                setattr(body, name, trimmed)
            # Nearly every text is sound, which these three show at a fraction of the call's cost.
            is_sound = trimmed and trimmed.isprintable() and (longest is None or len(trimmed) <= longest)
            if not is_sound and (
                error := text_error(name, trimmed, longest, may_be_empty=may_be_empty, multiline=is_multiline)
            ):
                return error
            value = trimmed
            if not value:
                return None
        for validate in validators:
            try:
                validate(value)
            except ValidationError as error:
                return f"{name}: {' '.join(error.messages)}"
        return None

    return check
