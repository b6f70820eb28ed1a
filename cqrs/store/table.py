"""The rows of an aggregate in one table: statements and converters made from its model and its state message."""

from __future__ import annotations  # Django's fields are generic in their stubs alone

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models
from django.db.backends.utils import CursorWrapper
from google.protobuf.message import Message

from cqrs.aggregate import OWN_FIELDS, Stored
from cqrs.engines import engine_of, select_in
from cqrs.engines.base import quoted

# The kit's columns, before a team's own.
_COLUMNS = ("id", "version", "last_updated", "added_by")


class TableStore:
    """Rows of one model: a column for each field of the state message, besides the kit's.

    Raises TypeError where the names do not agree. A field with presence (`optional`) may be null in its row, one
    without never is.
    """

    def __init__(self, model: type[models.Model], state: type[Message]) -> None:
        self.model = model
        fields = [each for each in state.DESCRIPTOR.fields if each.name not in OWN_FIELDS]
        columns: dict[str, models.Field[Any, Any]] = {each.attname: each for each in model._meta.concrete_fields}
        _check_names(model, state, {each.name for each in fields}, set(columns))
        self.columns = {each.name: columns[each.name] for each in fields}
        names = [quoted(str(columns[each].column)) for each in (*_COLUMNS, *self.columns)]
        own = ", ".join(f"{quoted(str(column.column))} = %s" for column in self.columns.values())
        self._table = table = quoted(model._meta.db_table)
        self._select = f"SELECT {', '.join(names)} FROM {table} WHERE id IN ({{}})"
        self._first = f"SELECT {', '.join(names)} FROM {table} ORDER BY added_by LIMIT %s"
        self._names = ", ".join(names)
        self._update = f"UPDATE {table} SET version = %s, last_updated = %s{', ' + own if own else ''} WHERE id = %s"
        self._delete = f"DELETE FROM {table} WHERE id = %s"
        lines = [
            "state = State()",
            "state.id = row[0]",
            "state.version = row[1]",
            # So that it is there even where it is the first moment of 1970.
            "time = state.last_updated; time.SetInParent()",
            "time.seconds = row[2] // 1000; time.nanos = row[2] % 1000 * 1_000_000",
            *(
                f"if row[{place}] is not None: state.{each.name} = row[{place}]"
                if each.has_presence
                else f"state.{each.name} = row[{place}]"
                for place, each in enumerate(fields, len(_COLUMNS))
            ),
        ]
        self._state_of = _compiled("state_of", "row", [*lines, "return state"], State=state)
        self._bytes_of = _compiled("bytes_of", "row", [*lines, "return state.SerializeToString()"], State=state)
        values = [
            f"state.{each.name} if state.HasField('{each.name}') else None"
            if each.has_presence
            else f"state.{each.name}"
            for each in fields
        ]
        # The kit's columns first; the store does not know `added_by` from the state.
        kit = "state.id, state.version, time.seconds * 1000 + time.nanos // 1_000_000, None"
        self._row_of = _compiled(
            "row_of", "state", ["time = state.last_updated", f"return [{', '.join((kit, *values))}]"]
        )

    def load(self, cursor: CursorWrapper, ids: Sequence[str]) -> dict[str, Stored]:
        return {row[0]: Stored(self._state_of(row), row[3]) for row in select_in(cursor, self._select, ids)}

    def read(self, cursor: CursorWrapper, ids: Sequence[str]) -> dict[str, bytes]:
        return {row[0]: self._bytes_of(row) for row in select_in(cursor, self._select, ids)}

    def first(self, cursor: CursorWrapper, count: int) -> list[bytes]:
        cursor.execute(self._first, [count])
        return [self._bytes_of(row) for row in cursor.fetchall()]

    def save(self, cursor: CursorWrapper, before: Mapping[str, Stored], after: Mapping[str, Stored | None]) -> None:
        gone: list[list[Any]] = []
        new: list[list[Any]] = []
        changed: list[list[Any]] = []
        for aggregate_id, wanted in after.items():
            was = before.get(aggregate_id)
            # Deleted and added again within one batch, it is another one, with another place in the list.
            is_same = was is not None and wanted is not None and was.added_by == wanted.added_by
            if was is not None and not is_same:
                gone.append([aggregate_id])
            if wanted is None:
                continue
            row = self._row_of(wanted.state)
            if is_same:
                changed.append([*row[1:3], *row[4:], aggregate_id])
            else:
                row[3] = wanted.added_by
                new.append(row)
        if gone:
            cursor.executemany(self._delete, gone)
        engine = engine_of(cursor.db.alias)
        engine.insert(cursor, self._table, self._names, new)
        if changed:
            cursor.executemany(self._update, changed)
        engine.check_references(cursor, self.model, after)


def _check_names(model: type[models.Model], state: type[Message], fields: set[str], columns: set[str]) -> None:
    missing = OWN_FIELDS - {"meta"} - {each.name for each in state.DESCRIPTOR.fields}
    if missing:
        raise TypeError(f"{state.__name__} lacks what the kit fills: {', '.join(sorted(missing))}")
    if without := sorted(fields - columns):
        raise TypeError(f"{model.__name__} has no column for {', '.join(without)} of {state.__name__}")
    if extra := sorted(columns - fields - set(_COLUMNS)):
        raise TypeError(f"{state.__name__} has no field for {', '.join(extra)} of {model.__name__}")


def _compiled(name: str, argument: str, lines: Sequence[str], **names: Any) -> Any:
    """A function of these lines. Reason: a loop over the fields of each row costs three times as much."""
    exec(f"def {name}({argument}):\n    " + "\n    ".join(lines), names)
    return names[name]
