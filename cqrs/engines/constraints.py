"""What a constraint of a model says to a person: the words that the model declares, or Django's own."""

import functools
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models
from django.utils.text import capfirst

from cqrs.engines.base import Violation


class BrokenReference(IntegrityError):
    """A row refers to a row that there is not, by this field and value."""

    def __init__(self, field: "models.ForeignKey[Any, Any]", value: Any) -> None:
        super().__init__(f"{field} refers to {value!r}, which there is not")
        self.field = field
        self.value = value


def declared(model: type[models.Model], name: str) -> Violation | None:
    """The violation of the constraint that the model declares by this name."""
    for constraint in model._meta.constraints:
        if constraint.name == name:
            return Violation(_message(model, constraint), _reason(constraint))
    return None


def unique(model: type[models.Model], columns: Sequence[str]) -> Violation | None:
    """The violation of the constraint by which these columns are unique."""
    fields = [field.name for field in _fields(model, columns)]
    if len(fields) != len(columns):
        return None
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and list(constraint.fields) == fields:
            return Violation(_message(model, constraint), "CONFLICT")
    return Violation(_text(model().unique_error_message(model, tuple(fields))), "CONFLICT")


def checked(model: type[models.Model], columns: Sequence[str]) -> Violation | None:
    """The violation of the check that a field brings of its own, such as that it is positive."""
    for field in _fields(model, columns):
        return Violation(f"{capfirst(field.verbose_name)} is out of its range.", "INVALID")
    return None


def empty(model: type[models.Model], column: str) -> Violation | None:
    """The violation of a column that may not be null."""
    for field in _fields(model, [column]):
        return Violation(f"{capfirst(field.verbose_name)}: {field.error_messages['null']}", "INVALID")
    return None


def reference(model: type[models.Model], field: "models.ForeignKey[Any, Any]", value: Any) -> Violation | None:
    """The violation of a foreign key: the model's own, or another model's that refers to it."""
    if field.model is model:
        target = field.target_field
        names = {"model": field.related_model._meta.verbose_name, "pk": value, "field": target.name, "value": value}
        return Violation(str(field.error_messages["invalid"]) % names, "INVALID")
    if field.related_model is model:
        ours, theirs = model._meta.verbose_name, field.model._meta.verbose_name
        return Violation(f"{capfirst(str(ours))} is referred to by a {theirs}.", "INVALID")
    return None


@functools.cache
def foreign_keys(model: type[models.Model]) -> "list[models.ForeignKey[Any, Any]]":
    """The foreign keys of the model and those that refer to it, as far as the database holds them."""
    own = [field for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
    others = [
        relation.field for relation in model._meta.related_objects if isinstance(relation.field, models.ForeignKey)
    ]
    return [field for field in dict.fromkeys((*own, *others)) if field.db_constraint]  # type: ignore[attr-defined]


def _fields(model: type[models.Model], columns: Sequence[str]) -> "list[models.Field[Any, Any]]":
    by_column = {field.column: field for field in model._meta.concrete_fields}
    return [by_column[column] for column in columns if column in by_column]


def _reason(constraint: models.BaseConstraint) -> Any:
    return "INVALID" if isinstance(constraint, models.CheckConstraint) else "CONFLICT"


def _message(model: type[models.Model], constraint: models.BaseConstraint) -> str:
    own = constraint.violation_error_message != constraint.default_violation_error_message
    if isinstance(constraint, models.UniqueConstraint) and constraint.fields and not own:
        return _text(model().unique_error_message(model, tuple(constraint.fields)))
    return str(constraint.get_violation_error_message())


def _text(error: ValidationError) -> str:
    return " ".join(error.messages)
