"""What a command says: whom it names, and whether the names are any."""

from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_write_pb2 import Command
from protocol.ids import aggregate_id_of, new_command_id
from protocol.rules import id_error


def body_of(command: Command) -> Contact | ContactReference:
    """The message inside; an empty one where there is none."""
    match command.WhichOneof("body"):
        case "add":
            return command.add
        case "update":
            return command.update
        case _:
            return command.delete


def completed(command: Command) -> Command:
    """The command with the ids that a foreign client leaves out: its own, and that of the contact it adds.

    The same object when nothing was missing.
    """
    body = body_of(command)
    adds = command.HasField("add")
    if body.meta.command_id and (body.id or not adds):
        return command
    copy = Command.FromString(command.SerializeToString())
    body = body_of(copy)
    body.meta.command_id = body.meta.command_id or new_command_id()
    if adds and not body.id:
        body.id = aggregate_id_of(body.meta.command_id)
    return copy


def ids_error(body: Contact | ContactReference) -> str | None:
    """Why an id in the body of a complete command is none (as a sentence), or None."""
    meta = body.meta
    depends_on = meta.depends_on
    return (
        id_error(meta.command_id, "command id")
        or id_error(body.id, "contact id")
        or (id_error(depends_on, "depends_on") if depends_on else None)
    )
