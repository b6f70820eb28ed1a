"""The GraphQL documents of the load, and how their answers are read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chaos.client import GraphQLClient
from chaos.history import Attempt, Command, CommandKind, Sample
from chaos.subject import Subject

# Errors that rule out an acceptance. Any other leaves it open.
_REFUSALS = frozenset({"BAD_USER_INPUT", "NOT_FOUND", "CONFLICT", "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"})

_ARGUMENTS: dict[CommandKind, Mapping[str, str]] = {
    "ADD": {"name": "String!", "commandId": "String"},
    "UPDATE": {"id": "String!", "name": "String!", "commandId": "String", "expectedVersion": "Int"},
    "DELETE": {"id": "String!", "commandId": "String", "expectedVersion": "Int"},
}


def cancel(subject: Subject) -> str:
    return f"mutation ($id: String!) {{ cancelCommand(id: $id) {_answer(subject)} }}"


def read_after(subject: Subject) -> str:
    one = f"contact: {subject.query}(id: $id, afterCommand: $after)"
    return f"query ($id: String!, $after: String) {{ {one} {{ version }} }}"


def _answer(subject: Subject) -> str:
    return f"{{ status message commandId contactId: {subject.id} takesEffectInMs }}"


async def ask(
    client: GraphQLClient, command_ids: Sequence[str], process: Callable[[], str], clock: Callable[[], float]
) -> list[Sample]:
    """Asks a gateway for the states of these commands in one document. Raises NotSent or AnswerLost.

    States that it cannot read now (the journal is busy, say) are left out; all are if another process answered than
    was asked.
    """
    parameters = ", ".join(f"$c{index}: String!" for index in range(len(command_ids)))
    fields = " ".join(f"c{index}: command(id: $c{index}) {{ id state version }}" for index in range(len(command_ids)))
    asked, sent_at = process(), clock()
    answer = await client.execute(
        f"query ({parameters}) {{ {fields} }}", {f"c{index}": value for index, value in enumerate(command_ids)}
    )
    if process() != asked:
        return []
    data, errors, now = answer.get("data") or {}, errors_by_field(answer), clock()
    samples = []
    for index, command_id in enumerate(command_ids):
        command, error = data.get(f"c{index}"), errors.get(f"c{index}") or errors.get("")
        if error is None or error["extensions"].get("code") == "NOT_FOUND":
            state, version = (command["state"], command["version"]) if command else ("", None)
            samples.append(Sample(command_id, asked, sent_at, now, state, version))
    return samples


def mutation(subject: Subject, commands: Sequence[Command]) -> tuple[str, dict[str, Any]]:
    parameters, fields, variables = [], [], {}
    for index, command in enumerate(commands):
        arguments = _ARGUMENTS[command.kind]
        values = {
            "id": command.contact_id,
            "name": command.name,
            "commandId": command.command_id if command.own_id else None,
            "expectedVersion": command.expected_version,
        }
        for argument, kind in arguments.items():
            parameters.append(f"${argument}{index}: {kind}")
            variables[f"{argument}{index}"] = values[argument]
        called = {"name": subject.name}
        given = ", ".join(f"{called.get(argument, argument)}: ${argument}{index}" for argument in arguments)
        fields.append(f"m{index}: {subject.mutations[command.kind]}({given}) {_answer(subject)}")
    return f"mutation ({', '.join(parameters)}) {{ {' '.join(fields)} }}", variables


def errors_by_field(answer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The errors by the first field of their path; "" for errors of the whole request."""
    errors: dict[str, Mapping[str, Any]] = {}
    for error in answer.get("errors") or ():
        path = error.get("path") or [""]
        errors[str(path[0])] = {"extensions": {}, **error}
    return errors


def record_answer(
    attempt: Attempt, now: float, answered: Mapping[str, Any] | None, error: Mapping[str, Any] | None
) -> None:
    """Writes an answer down. Without answer and error, an error elsewhere in the document nulled the whole answer."""
    attempt.answered_at = now
    if answered is not None:
        attempt.answer = "queued"
        attempt.command_id, attempt.contact_id = answered["commandId"], answered["contactId"]
    elif error is not None:
        attempt.code, attempt.message = str(error["extensions"].get("code", "")), str(error.get("message", ""))
        attempt.answer = "refused" if attempt.code in _REFUSALS else "lost"
    else:
        attempt.answer, attempt.message = "lost", "another mutation of the document failed"
