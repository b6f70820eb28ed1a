"""Arguments → a validated command, with its id. Nothing is sent or written here."""

from collections.abc import Mapping

from cqrs.aggregate import OWN_FIELDS, Effect, Verb
from cqrs.journal.errors import InvalidCommand
from protocol import rules
from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_write_pb2 import Command
from protocol.cqrs_command_pb2 import Command as Envelope
from protocol.cqrs_command_pb2 import CommandMeta
from protocol.ids import aggregate_id_of, new_command_id
from protocol.rules import id_error, text_error

MAX_ACTOR = 150  # as long as Django's usernames
MAX_VERSION = 2**63 - 1


def add(name: str, *, command_id: str | None = None, actor: str = "") -> Command:
    """A command that adds a contact called `name`; its contact's id follows from the command's. Raises InvalidCommand.

    command_id: the client's own (an idempotency key: the same id and arguments take effect once); None: a fresh one.
    """
    command = Command()
    body = command.add
    _fill(body.meta, command_id, None, actor)
    body.id = aggregate_id_of(body.meta.command_id)
    body.name = _name(name)
    return command


def update(
    contact_id: str,
    name: str,
    *,
    expected_version: int | None = None,
    command_id: str | None = None,
    actor: str = "",
) -> Command:
    """A command that renames a contact, if it has `expected_version` (None: any). Raises InvalidCommand."""
    command = Command()
    body = command.update
    _fill(body.meta, command_id, expected_version, actor)
    body.id = _id(contact_id, "id")
    body.name = _name(name)
    return command


def delete(
    contact_id: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> Command:
    """A command that deletes a contact, if it has `expected_version` (None: any). Raises InvalidCommand."""
    command = Command()
    body = command.delete
    _fill(body.meta, command_id, expected_version, actor)
    body.id = _id(contact_id, "id")
    return command


def amended(command: Command, *, name: str = "", expected_version: int | None = None) -> Command:
    """The command with another name (a delete has none) and version (an add has none). Raises InvalidCommand."""
    copy = Command.FromString(command.SerializeToString())
    body = body_of(copy)
    if isinstance(body, Contact):
        body.name = _name(name)
    elif name:
        raise InvalidCommand("a delete has no name")
    body.meta.ClearField("expected_version")
    if expected_version is not None:
        if copy.HasField("add"):
            raise InvalidCommand("an add expects no version")
        body.meta.expected_version = _version(expected_version)
    return copy


def kind_of(command: Command) -> str:
    """ADD, UPDATE or DELETE; InvalidCommand for an empty command."""
    kind: str | None = command.WhichOneof("body")
    if kind is None:
        raise InvalidCommand("the command is empty")
    return kind.upper()


def body_of(command: Command) -> Contact | ContactReference:
    """What the command carries: the message of the contract. InvalidCommand for an empty command."""
    match command.WhichOneof("body"):
        case "add":
            return command.add
        case "update":
            return command.update
        case "delete":
            return command.delete
        case _:
            raise InvalidCommand("the command is empty")


def meta_of(command: Command) -> CommandMeta:
    """The command's meta: the part itself, not a copy."""
    return body_of(command).meta


def _name(name: str) -> str:
    name = name.strip()
    _refuse(rules.name_error(name))
    return name


def _id(value: str, what: str) -> str:
    _refuse(rules.id_error(value, what))
    return value


def _fill(meta: CommandMeta, command_id: str | None, expected_version: int | None, actor: str) -> None:
    # In place: messages that are made apart are copied into each other, which costs three times as much.
    meta.command_id = new_command_id() if command_id is None else _id(command_id, "command id")
    if actor:
        meta.actor = checked_actor(actor)
    if expected_version is not None:
        meta.expected_version = _version(expected_version)


def checked_actor(actor: str) -> str:
    """The actor as given; raises InvalidCommand for one that is none."""
    if len(actor) > MAX_ACTOR:
        raise InvalidCommand(f"actor must be at most {MAX_ACTOR} characters, not {len(actor)}")
    if not actor.isprintable():
        raise InvalidCommand("actor must not contain control characters")
    return actor


def _version(version: int) -> int:
    if not 1 <= version <= MAX_VERSION:
        raise InvalidCommand(f"expected version must be 1 to {MAX_VERSION}, not {version}")
    return version


def _refuse(error: str | None) -> None:
    if error is not None:
        raise InvalidCommand(error)


def build(
    verb: Verb,
    arguments: Mapping[str, object],
    *,
    aggregate_id: str | None = None,
    expected_version: int | None = None,
    command_id: str | None = None,
    actor: str = "",
) -> Envelope:
    """A command of these arguments; one that is None is left absent. Raises InvalidCommand.

    aggregate_id: of the aggregate to be changed; of one to be created it follows from the command's id where none is
    given. expected_version: the version it has to have (None: any). command_id: the client's own (an idempotency key:
    the same id and arguments take effect once); None: a fresh one.
    """
    command = Envelope()
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
