"""What the database has recorded, in few words."""

from collections.abc import Sequence

from cqrs.store.models import Kind, Notice
from protocol.cqrs_command_pb2 import Command
from tests.support.envelopes import id_of


def kinds(commands: Sequence[Command]) -> list[str]:
    """What was recorded of the commands, by number, each as "<place in the list>:<kind>"."""
    places = {id_of(command): place for place, command in enumerate(commands)}
    rows = Notice.objects.order_by("number").values_list("command_id", "kind")
    return [f"{places[command_id]}:{Kind(kind).name}" for command_id, kind in rows]
