import pytest

from cqrs.journal import commands
from cqrs.journal.errors import InvalidCommand
from protocol.contact_write_pb2 import Command
from protocol.ids import aggregate_id_of


def test_an_add_names_the_contact_after_its_command() -> None:
    command = commands.add("Ada", command_id="my-key", actor="grace")
    assert commands.kind_of(command) == "ADD"
    assert command.add.id == aggregate_id_of("my-key")
    assert (command.add.name, command.add.meta.command_id, command.add.meta.actor) == ("Ada", "my-key", "grace")


def test_names_are_trimmed() -> None:
    assert commands.add("  Ada \n").add.name == "Ada"
    assert commands.update("c1", "\tAda").update.name == "Ada"


def test_every_command_without_an_id_gets_one_of_its_own_in_order_of_time() -> None:
    ids = [commands.meta_of(commands.delete("c1")).command_id for _ in range(100)]
    assert len(set(ids)) == 100
    assert ids == sorted(ids)


def test_update_and_delete_carry_the_expected_version_only_when_it_is_given() -> None:
    assert commands.update("c1", "Ada", expected_version=3).update.meta.expected_version == 3
    assert commands.delete("c1", expected_version=1).delete.meta.expected_version == 1
    assert not commands.update("c1", "Ada").update.meta.HasField("expected_version")
    assert not commands.delete("c1").delete.meta.HasField("expected_version")


def test_meta_is_the_part_itself() -> None:
    command = commands.update("c1", "Ada")
    commands.meta_of(command).waited_ms = 7
    assert command.update.meta.waited_ms == 7


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: commands.add("   "), "name must not be empty"),
        (lambda: commands.add("a" * 201), "name must be at most 200 characters, not 201"),
        (lambda: commands.add("a\x00b"), "control character U\\+0000"),
        (lambda: commands.add("a\ud800b"), "control character U\\+D800"),
        (lambda: commands.add("Ada", command_id=""), "command id must not be empty"),
        (lambda: commands.add("Ada", command_id="two words"), "command id must be 1 to 100"),
        (lambda: commands.add("Ada", command_id="x" * 101), "command id must be 1 to 100"),
        (lambda: commands.update("", "Ada"), "id must not be empty"),
        (lambda: commands.delete("../x"), "id must be 1 to 100"),
        (lambda: commands.update("c1", "Ada", expected_version=0), "expected version must be 1 to .*, not 0"),
        (lambda: commands.delete("c1", expected_version=2**63), "expected version must be 1 to"),
        (lambda: commands.add("Ada", actor="x" * 151), "actor must be at most 150 characters, not 151"),
        (lambda: commands.add("Ada", actor="a\nb"), "actor must not contain control characters"),
        (lambda: commands.kind_of(Command()), "the command is empty"),
        (lambda: commands.body_of(Command()), "the command is empty"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_reason(make: object, why: str) -> None:
    with pytest.raises(InvalidCommand, match=why):
        make()  # type: ignore[operator]


def test_the_limits_themselves_are_allowed() -> None:
    command = commands.update("x" * 100, "a" * 200, expected_version=1, command_id="y" * 100, actor="z" * 150)
    assert len(command.update.name) == 200
