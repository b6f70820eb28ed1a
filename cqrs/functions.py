"""The Python functions of every aggregate, made from its declaration.

    from cqrs.functions import awrite_note, wait_for, write_note, write_notes

    accepted = write_note("Milk, eggs", author="Ada", actor=request.user.get_username())
    wait_for(accepted.command_id, 10)

Each verb has `<verb>_<aggregate>`, one that creates `<verb>_<aggregate>s` too, which takes an iterable; each of these
has a twin for asynchronous code, named with an `a` in front. What is the same for all aggregates is here as well.
See `cqrs.journal.api` for the promises.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any

from asgiref.sync import sync_to_async
from google.protobuf.descriptor import FieldDescriptor

from cqrs.aggregate import Aggregate, Effect, Verb, registry
from cqrs.journal.accepted import Accepted

_SAME_FOR_ALL = {
    "api": ["submit", "submit_many", "cancel_command", "retry_command", "amend_command", "discard_command", "together"],
    "state": ["command_state", "wait_for", "await_for", "acommand_state"],
}

_TYPES: Mapping[int, Any] = {
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_DOUBLE: float,
    FieldDescriptor.CPPTYPE_FLOAT: float,
}

_KEYWORDS = {
    "expected_version": Parameter("expected_version", Parameter.KEYWORD_ONLY, default=None, annotation=int | None),
    "command_id": Parameter("command_id", Parameter.KEYWORD_ONLY, default=None, annotation=str | None),
    "actor": Parameter("actor", Parameter.KEYWORD_ONLY, default="", annotation=str),
}

_PROMISES = """
    command_id: an idempotency key of your own: the same key and arguments take effect once and get the same answer.
    actor: the username for the record.
    Raises InvalidCommand, KeyConflict (the key was used with other arguments), JournalFull, JournalUnavailable."""


def functions_of(aggregate: Aggregate) -> dict[str, Callable[..., Any]]:
    """The functions of an aggregate by their names."""
    made: dict[str, Callable[..., Any]] = {}
    for verb in aggregate.verbs.values():
        for function in (_one(aggregate, verb), *([_many(aggregate, verb)] if verb.effect is Effect.CREATES else ())):
            made[function.__name__] = function
            made[f"a{function.__name__}"] = _twin(function)
    return made


def _one(aggregate: Aggregate, verb: Verb) -> Callable[..., Any]:
    its_id = f"{aggregate.name}_id"
    signature = _signature(aggregate, verb, its_id)

    def call(*values: Any, **named: Any) -> Accepted:
        from cqrs.journal.api import submit

        given = signature.bind(*values, **named).arguments
        return submit(verb.kind, given.pop(its_id, None), **given)

    call.__signature__ = signature  # type: ignore[attr-defined]
    columns = aggregate.store.columns
    fields = (f"{each}: {columns[each].help_text}" for each in aggregate.arguments(verb) if each in columns)
    described = "".join(f"\n    {line}" for line in fields if not line.endswith(": "))
    expects = "" if verb.effect is Effect.CREATES else "\n    expected_version: the version it has to have; None: any."
    doc = f"{_says(verb)} The answer has `{its_id}`.\n{described}{expects}{_PROMISES}\n    "
    return _called(call, f"{verb.name}_{aggregate.name}", doc)


def _many(aggregate: Aggregate, verb: Verb) -> Callable[..., Any]:
    own = aggregate.arguments(verb)

    def call(iterable: Iterable[Any], *, actor: str = "", command_ids: Iterable[str] | None = None) -> list[Accepted]:
        from cqrs.journal.api import submit_many

        each = (one if isinstance(one, Mapping) or len(own) != 1 else {own[0]: one} for one in iterable)
        return list(submit_many(verb.kind, each, actor=actor, command_ids=command_ids))

    plain = f"values of {own[0]}, or " if len(own) == 1 else ""
    doc = f"""{_says(verb)} For each of an iterable: of {plain}mappings of arguments; in its order.

    In transactions of 200; inside `transaction.atomic()` all are accepted or none. command_ids: an idempotency key for
    each. Without end or for memory's sake: `submit_many`, whose answers are iterated. Raises as that.
    """
    return _called(call, f"{verb.name}_{aggregate.name}s", doc)


def _signature(aggregate: Aggregate, verb: Verb, its_id: str) -> Signature:
    fields = verb.body.DESCRIPTOR.fields_by_name
    own = [_parameter(fields[each]) for each in aggregate.arguments(verb)]
    keywords = list(_KEYWORDS.values())
    if verb.effect is Effect.CREATES:
        keywords = keywords[1:]
    else:
        own.insert(0, Parameter(its_id, Parameter.POSITIONAL_OR_KEYWORD, annotation=str))
    own.sort(key=lambda parameter: parameter.default is None)
    return Signature([*own, *keywords], return_annotation=Accepted)


def _parameter(field: Any) -> Parameter:
    """Required, but for a field that may be absent."""
    kind = bytes if field.type == FieldDescriptor.TYPE_BYTES else _TYPES.get(field.cpp_type, int)
    if field.message_type is not None or field.is_repeated:
        kind = Any
    if field.has_presence:
        return Parameter(field.name, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=kind | None)
    return Parameter(field.name, Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)


def _says(verb: Verb) -> str:
    return f"Accepts a command ({verb.kind}). {verb.description}".rstrip()


def _called(function: Callable[..., Any], its_name: str, doc: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = its_name
    function.__module__, function.__doc__ = __name__, doc
    return function


def _twin(function: Callable[..., Any]) -> Callable[..., Any]:
    waits = sync_to_async(function)

    @functools.wraps(function)
    async def twin(*values: Any, **named: Any) -> Any:
        return await waits(*values, **named)

    return _called(twin, f"a{function.__name__}", function.__doc__ or "")


@functools.cache
def _all() -> dict[str, Any]:
    from cqrs.journal import api, state

    found: dict[str, Any] = {}
    for module, offered in ((api, _SAME_FOR_ALL["api"]), (state, _SAME_FOR_ALL["state"])):
        for each in offered:
            found |= {shown: getattr(module, shown) for shown in (each, f"a{each}") if hasattr(module, shown)}
    for aggregate in registry().values():
        found |= functions_of(aggregate)
    return found


def __getattr__(attribute: str) -> Any:
    # Not at import: Django's apps and their models have to be there.
    if not attribute.startswith("__") and attribute in _all():
        return _all()[attribute]
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")


def __dir__() -> list[str]:
    return sorted(_all())
