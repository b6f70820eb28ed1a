import pytest
from google.protobuf.wrappers_pb2 import Int64Value

from cqrs.aggregate import Effect, Verb, verb_of
from cqrs.cleaning import cleaner
from cqrs.journal import commands
from cqrs.journal.errors import InvalidCommand
from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Command
from protocol.ids import aggregate_id_of


def verb(name: str) -> Verb:
    found = verb_of(f"contact.{name}")
    assert found is not None
    return found


def build(name: str, aggregate_id: str | None = None, /, **options: object) -> Command:
    """A contact's command; `name_`: the argument of that name."""
    arguments = {"name": options.pop("name_")} if "name_" in options else {}
    return commands.build(verb(name), arguments, aggregate_id=aggregate_id, **options)  # type: ignore[arg-type]


def amended(parked: Command, expected_version: int | None = None, **arguments: object) -> Command:
    return commands.amended(parked, arguments, expected_version)


def test_an_add_names_the_contact_after_its_command() -> None:
    command = build("add", name_="Ada", command_id="my-key", actor="grace")
    assert (command.kind, command.aggregate_id) == ("contact.add", aggregate_id_of("my-key"))
    assert (command.meta.command_id, command.meta.actor) == ("my-key", "grace")
    assert Contact.FromString(command.body) == Contact(name="Ada")


def test_an_id_that_is_given_to_an_add_is_kept() -> None:
    assert build("add", "c7", name_="Ada").aggregate_id == "c7"


def test_names_are_trimmed() -> None:
    assert build("add", name_="  Ada \n").body == Contact(name="Ada").SerializeToString()
    assert build("update", "c1", name_="\tAda").body == Contact(name="Ada").SerializeToString()


def test_every_command_without_an_id_gets_one_of_its_own_in_order_of_time() -> None:
    ids = [build("delete", "c1").meta.command_id for _ in range(100)]
    assert len(set(ids)) == 100
    assert ids == sorted(ids)


def test_update_and_delete_carry_the_expected_version_only_when_it_is_given() -> None:
    assert build("update", "c1", name_="Ada", expected_version=3).meta.expected_version == 3
    assert build("delete", "c1", expected_version=1).meta.expected_version == 1
    assert not build("update", "c1", name_="Ada").meta.HasField("expected_version")
    assert not build("delete", "c1").meta.HasField("expected_version")


def test_an_argument_that_is_none_is_left_absent() -> None:
    with pytest.raises(InvalidCommand, match="name must not be empty"):
        build("add", name_=None)
    assert build("delete", "c1", name_=None).body == b""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: build("add", name_="   "), "name must not be empty"),
        (lambda: build("add", name_="a" * 201), "name must be at most 200 characters, not 201"),
        (lambda: build("add", name_="a\x00b"), "control character U\\+0000"),
        (lambda: build("add", name_="a\ud800b"), "control character U\\+D800"),
        (lambda: build("add", name_=7), "^name: "),
        (lambda: build("delete", "c1", name_="Ada"), "a delete has no name"),
        (lambda: commands.build(verb("add"), {"version": 7}), "an add has no version"),
        (lambda: build("add", name_="Ada", command_id=""), "command id must not be empty"),
        (lambda: build("add", name_="Ada", command_id="two words"), "command id must be 1 to 100"),
        (lambda: build("add", name_="Ada", command_id="x" * 101), "command id must be 1 to 100"),
        (lambda: build("update", "", name_="Ada"), "id must not be empty"),
        (lambda: build("update", name_="Ada"), "id must not be empty"),
        (lambda: build("delete", "../x"), "id must be 1 to 100"),
        (lambda: build("delete", "a\x00b"), "id must be 1 to 100"),
        (lambda: build("add", name_="Ada", expected_version=1), "an add expects no version"),
        (lambda: build("update", "c1", name_="Ada", expected_version=0), "expected version must be 1 to .*, not 0"),
        (lambda: build("delete", "c1", expected_version=2**63), "expected version must be 1 to"),
        (lambda: build("add", name_="Ada", actor="x" * 151), "actor must be at most 150 characters, not 151"),
        (lambda: build("add", name_="Ada", actor="a\nb"), "actor must not contain control characters"),
        (lambda: amended(Command(kind="contact.rename")), "there is no command 'contact.rename'"),
        (lambda: amended(Command()), "there is no command ''"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_reason(make: object, why: str) -> None:
    with pytest.raises(InvalidCommand, match=why):
        make()  # type: ignore[operator]


def test_the_limits_themselves_are_allowed() -> None:
    command = build("update", "x" * 100, name_="a" * 200, expected_version=1, command_id="y" * 100, actor="z" * 150)
    assert len(Contact.FromString(command.body).name) == 200


def test_an_amended_command_has_all_but_arguments_and_version_of_the_parked_one() -> None:
    parked = build("update", "c1", name_="Ada", expected_version=3, command_id="key", actor="grace")
    changed = amended(parked, 4, name=" Grace ")
    assert changed == build("update", "c1", name_="Grace", expected_version=4, command_id="key", actor="grace")
    assert not amended(parked, name="Grace").meta.HasField("expected_version")
    assert parked.meta.expected_version == 3


def test_arguments_of_any_message_are_set_by_their_names() -> None:
    counted = Verb("counter", "count", Int64Value, Effect.CHANGES, lambda _s, _b: None, cleaner(Int64Value, {}, ()))
    assert commands.build(counted, {"value": 7}, aggregate_id="n").body == Int64Value(value=7).SerializeToString()
    with pytest.raises(InvalidCommand, match=r"^value: "):
        commands.build(counted, {"value": "seven"}, aggregate_id="n")
