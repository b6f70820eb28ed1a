"""Arguments → a checked command, with its id and its body. Nothing is sent or written here."""

from collections.abc import Mapping

from cqrs.aggregate import OWN_FIELDS, Effect, Verb, verb_of
from cqrs.journal.errors import InvalidCommand
from protocol.cqrs_command_pb2 import Command
from protocol.ids import aggregate_id_of, new_command_id
from protocol.rules import id_error, text_error

MAX_ACTOR = 150  # as long as Django's usernames
MAX_VERSION = 2**63 - 1


def build(
    verb: Verb,
    arguments: Mapping[str, object],
    *,
    aggregate_id: str | None = None,
    expected_version: int | None = None,
    command_id: str | None = None,
    actor: str = "",
) -> Command:
    """A command of these arguments; one that is None is left absent. Raises InvalidCommand.

    aggregate_id: of the aggregate to be changed; of one to be created it follows from the command's id where none is
    given. expected_version: the version it has to have (None: any). command_id: the client's own (an idempotency key:
    the same id and arguments take effect once); None: a fresh one.
    """
    command = Command()
    command.kind = verb.kind
    meta = command.meta
    meta.command_id = new_command_id() if command_id is None else _checked_id(command_id, "command id")
    if aggregate_id is not None or verb.effect is not Effect.CREATES:
        command.aggregate_id = _checked_id(aggregate_id or "", "id")
    else:
        command.aggregate_id = aggregate_id_of(meta.command_id)
    if actor:
        meta.actor = checked_actor(actor)
    if expected_version is not None:
        meta.expected_version = _checked_version(verb, expected_version)
    command.body = _body(verb, arguments)
    return command


def amended(parked: Command, arguments: Mapping[str, object], expected_version: int | None) -> Command:
    """The command with these arguments and this expected version instead of its own. Raises InvalidCommand."""
    verb = verb_of(parked.kind)
    if verb is None:
        raise InvalidCommand(f"there is no command {parked.kind!r}")
    copy = Command()
    copy.CopyFrom(parked)
    copy.body = _body(verb, arguments)
    copy.meta.ClearField("expected_version")
    if expected_version is not None:
        copy.meta.expected_version = _checked_version(verb, expected_version)
    return copy


def checked_actor(actor: str) -> str:
    """The actor as given; raises InvalidCommand for one that is none."""
    if len(actor) > MAX_ACTOR:
        raise InvalidCommand(f"actor must be at most {MAX_ACTOR} characters, not {len(actor)}")
    if not actor.isprintable():
        raise InvalidCommand("actor must not contain control characters")
    return actor


def _body(verb: Verb, arguments: Mapping[str, object]) -> bytes:
    """The verb's message of these arguments, serialised: from here on bytes, until the database decides."""
    body = verb.body()
    for argument, value in arguments.items():
        if value is None:
            continue
        if argument in OWN_FIELDS or argument not in verb.body.DESCRIPTOR.fields_by_name:
            raise InvalidCommand(f"{_with_article(verb)} has no {argument}")
        try:
            setattr(body, argument, value)
        except (TypeError, ValueError, AttributeError) as error:
            # A text that UTF-8 cannot carry, or a value of another type.
            unfit = text_error(argument, value, None, may_be_empty=True) if isinstance(value, str) else None
            raise InvalidCommand(unfit or f"{argument}: {error}") from error
    if why := verb.clean(body):
        raise InvalidCommand(why)
    return body.SerializeToString(deterministic=True)


def _checked_id(value: str, what: str) -> str:
    if why := id_error(value, what):
        raise InvalidCommand(why)
    return value


def _checked_version(verb: Verb, version: int) -> int:
    if verb.effect is Effect.CREATES:
        raise InvalidCommand(f"{_with_article(verb)} expects no version")
    if not 1 <= version <= MAX_VERSION:
        raise InvalidCommand(f"expected version must be 1 to {MAX_VERSION}, not {version}")
    return version


def _with_article(verb: Verb) -> str:
    return f"{'an' if verb.name[0] in 'aeiou' else 'a'} {verb.name}"
