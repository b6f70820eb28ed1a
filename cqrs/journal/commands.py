"""Arguments → a validated command, with its id. Nothing is sent or written here."""

from cqrs.journal.errors import InvalidCommand
from protocol import rules
from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_write_pb2 import Command
from protocol.cqrs_command_pb2 import CommandMeta
from protocol.ids import aggregate_id_of, new_command_id

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
