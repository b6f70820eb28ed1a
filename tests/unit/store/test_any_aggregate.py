"""The store, for each aggregate that is installed; and once with an aggregate that is installed by a setting alone."""

import filecmp
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from cqrs.aggregate import registry
from cqrs.store import notices
from cqrs.store.apply import apply, retry_parked
from cqrs.store.batch_reads import read
from cqrs.store.models import Kind, Notice, ParkedCommand, Reason
from cqrs.store.preview import asks_for, preview
from protocol.cqrs_command_pb2 import Command, Operation
from protocol.cqrs_read_pb2 import Key, Page
from tests.support.envelopes import cancelled, id_of
from tests.support.recorded import kinds
from tests.support.subjects import NOTE_APP, SUBJECTS, Subject, by_name

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "contacts"])


@pytest.fixture(params=SUBJECTS, ids=by_name)
def subject(request: pytest.FixtureRequest) -> Subject:
    return request.param


def operated(command: Command, kind: Operation.Kind, notice: int, body: bytes | None = None) -> Command:
    copy = Command.FromString(command.SerializeToString())
    copy.meta.operation.CopyFrom(Operation(kind=kind, notice=notice, actor="op"))
    if body is not None:
        copy.body = body
    return copy


def test_it_is_created_changed_and_deleted(subject: Subject, clock: list[int]):
    first = subject.create("Ada", actor="root")
    its_id = first.aggregate_id
    second = subject.change(its_id, " Grace ", depends_on=id_of(first), expected_version=1)
    third = subject.remove(its_id, depends_on=id_of(second), expected_version=2)
    made = apply([first, second]).notices
    row = subject.rows.get()
    assert (row.pk, row.version, row.added_by, subject.texts()) == (its_id, 2, 1, ["Grace"])
    assert row.last_updated.timestamp() == clock[0] / 1000
    made += apply([third]).notices
    assert not subject.rows.exists()
    assert kinds([first, second, third]) == ["0:ADDED", "1:UPDATED", "2:DELETED"]
    assert [(notice.aggregate, notice.aggregate_id, notice.version) for notice in made] == [
        (subject.name, its_id, 1),
        (subject.name, its_id, 2),
        (subject.name, its_id, 2),
    ]
    assert [subject.text_of(notice.state) for notice in made] == ["Ada", "Grace", "Grace"]
    assert [notice.message for notice in made] == [
        f"{subject.name.capitalize()} {done}" for done in ("added", "updated", "deleted")
    ]
    assert [notice.command_kind for notice in made] == [f"{subject.name}.{verb}" for verb in subject.verbs]
    assert list(Notice.objects.order_by("number").values_list("summary", flat=True)) == ["Ada", "Grace", "Grace"]
    assert list(notices.after("0", 10).notice) == made


def test_the_kit_refuses_what_is_the_same_for_all(subject: Subject):
    first = subject.create("Ada")
    its_id = first.aggregate_id
    apply([first])
    noun = subject.declared.noun or subject.name
    for command, reason, message in (
        (subject.create("Bob", its_id), Reason.CONFLICT, f"{noun} with id {its_id} exists already"),
        (subject.change("x"), Reason.NOT_FOUND, f"{noun} with id x not found"),
        (subject.remove("x"), Reason.NOT_FOUND, f"{noun} with id x not found"),
        (
            subject.change(its_id, expected_version=2),
            Reason.CONFLICT,
            f"the {subject.name} is at version 1, not 2",
        ),
        (subject.change("x", " "), Reason.INVALID, f"{subject.field} must not be empty"),
        (subject.remove("?"), Reason.INVALID, f"{subject.name} id must be 1 to 100 letters, digits or . _ : - "),
    ):
        (notice,) = apply([command]).notices
        assert (notice.kind, notice.reason) == (Kind.REJECTED, reason)
        assert notice.message.startswith(message)
    assert subject.texts() == ["Ada"]


def test_a_chain_in_any_order_is_applied_in_its_order(subject: Subject):
    chain = [subject.create("0")]
    for place in range(1, 40):
        its = {"depends_on": id_of(chain[-1]), "expected_version": place}
        chain.append(subject.change(chain[0].aggregate_id, str(place), **its))
    assert apply(random.Random(7).sample(chain, len(chain))).deferred == []
    assert kinds(chain) == ["0:ADDED", *(f"{place}:UPDATED" for place in range(1, 40))]


def test_the_same_id_of_two_aggregates_is_two_things():
    made = [subject.create("the same", "one") for subject in SUBJECTS]
    apply(made)
    apply([SUBJECTS[0].remove("one")])
    assert [subject.texts() for subject in SUBJECTS] == [[], ["the same"]][: len(SUBJECTS)]


def test_a_defect_parks_and_an_operator_amends(subject: Subject, defects: set[str], clock: list[int]):
    bad = subject.create("bad")
    behind = subject.change(bad.aggregate_id, "later", depends_on=id_of(bad))
    defects.add(id_of(bad))
    apply([bad, behind])
    parked = ParkedCommand.objects.get(pk=id_of(bad))
    assert (parked.aggregate, parked.aggregate_id) == (subject.name, bad.aggregate_id)
    assert Command.FromString(bytes(parked.payload)) == bad
    defects.clear()
    assert asks_for(bad).startswith(f"{subject.verbs[0]} ")
    assert [each.outcome.kind for each in preview(list(ParkedCommand.objects.all()))] == [Kind.ADDED, Kind.UPDATED]
    apply([operated(bad, Operation.AMEND, parked.notice, subject.create("good").body)])
    retry_parked()
    assert kinds([bad, behind])[2:] == ["0:ADDED", "1:UPDATED"]
    assert subject.text_of(bytes(Notice.objects.get(number=3).state)) == "good"
    assert apply([cancelled(bad), bad]) == ([], [])


def test_it_is_read_by_id_and_as_a_page(subject: Subject):
    first, second = subject.create("Ada"), subject.create("Grace")
    apply([first, second])
    what = {"aggregate": subject.name}
    keys = [Key(id=second.aggregate_id, **what), Key(page=Page(count=1), **what), Key(id="x", **what)]
    assert [[subject.text_of(state) for state in answer.state] for answer in read(keys).answer] == [
        ["Grace"],
        ["Ada"],
        [],
    ]


def test_the_admin_shows_its_notices_and_parked_commands(subject: Subject, defects: set[str]):
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    good, bad = subject.create("Ada Lovelace"), subject.create("Grace Hopper")
    defects.add(id_of(bad))
    apply([good, bad])
    notice_page = client.get(reverse("admin:cqrs_notice_change", args=[1])).text
    assert "Ada Lovelace" in notice_page
    page = client.get(reverse("admin:cqrs_notice_changelist"), {"aggregate": subject.name, "q": "Ada"}).text
    assert "1 notice" in page
    assert "Grace Hopper" in client.get(reverse("admin:cqrs_parkedcommand_change", args=[id_of(bad)])).text


@pytest.mark.skipif("note" not in registry(), reason="notes are not installed")
def test_a_sentence_of_the_verb_is_a_rejection_and_a_field_with_presence_may_be_null():
    (note,) = [subject for subject in SUBJECTS if subject.name == "note"]
    first = note.create("Ada")
    apply([first])
    assert note.rows.get().author is None
    (notice,) = apply([note.change(first.aggregate_id, "Ada")]).notices
    assert (notice.kind, notice.reason, notice.message) == (Kind.REJECTED, Reason.INVALID, "the note says so already")
    signed = note.create("Grace")
    signed.body = registry()["note"].verbs["write"].body(text="Grace", author="Hopper").SerializeToString()
    apply([signed])
    assert note.rows.get(text="Grace").author == "Hopper"


def test_all_of_this_holds_for_an_aggregate_that_a_setting_installs():
    if "note" in registry():
        pytest.skip("it is installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__],
        env=environment | {"CONTACTS_EXTRA_APPS": NOTE_APP},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_of_notes_are_fresh(tmp_path: Path):
    folder = Path(*NOTE_APP.split("."))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, str(folder / "messages.proto")], cwd=ROOT, check=True)
    names = [f"messages_pb2{ending}" for ending in (".py", ".pyi")]
    assert filecmp.cmpfiles(ROOT / folder, tmp_path / folder, names, shallow=False)[0] == names
