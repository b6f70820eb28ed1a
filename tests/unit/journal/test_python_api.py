from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, transaction
from django.test import Client
from django.urls import reverse

import contacts_write
from contacts_write import (
    aadd_contact,
    acancel_command,
    add_contact,
    adelete_contact,
    aupdate_contact,
    cancel_command,
    delete_contact,
    update_contact,
)
from cqrs.journal import api
from cqrs.journal.errors import (
    InvalidCommand,
    JournalFull,
    JournalUnavailable,
    KeyConflict,
    NotCancellable,
    UnknownCommand,
)
from cqrs.journal.insertion import Insertion
from cqrs.journal.models import Command
from cqrssite.testing import commands_take_effect_at_once
from database_service.models import Contact
from protocol.contact_pb2 import Contact as ContactMessage
from protocol.ids import aggregate_id_of
from tests.support.journals import open_journal, rows_in_order

pytestmark = pytest.mark.django_db(databases=["default", "contacts"])


def name_of(command: Command) -> str:
    return ContactMessage.FromString(bytes(command.body)).name


def test_any_command_is_submitted_by_its_kind() -> None:
    accepted = api.submit("contact.add", name="Ada", command_id="key-1", actor="grace")
    assert accepted == add_contact("Ada", command_id="key-1")
    api.submit("contact.update", accepted.aggregate_id, name="Bob", expected_version=1)
    assert [row.kind for row in Command.objects.order_by("number")] == ["contact.add", "contact.update"]
    with pytest.raises(InvalidCommand, match=r"there is no command 'contact\.rename'"):
        api.submit("contact.rename", "c1")
    with pytest.raises(InvalidCommand, match="an add has no colour"):
        api.submit("contact.add", name="Ada", colour="red")


def test_a_command_is_journaled_without_an_owner() -> None:
    accepted = add_contact(" Ada ", actor="grace")
    command = Command.objects.get()
    assert accepted == (
        command.command_id,
        "contact",
        command.aggregate_id,
        command.accepted_at,
        command.takes_effect_at,
    )
    assert (command.kind, name_of(command), command.actor, command.owner) == ("contact.add", "Ada", "grace", "")
    assert accepted.contact_id == command.aggregate_id == aggregate_id_of(command.command_id)
    assert accepted.takes_effect_at - accepted.accepted_at == timedelta(seconds=3)


@pytest.mark.django_db(databases=["default", "contacts"], transaction=True)
async def test_commands_of_one_contact_are_chained_by_the_gateway_that_claims_them() -> None:
    first = await aadd_contact("Ada")
    await aupdate_contact(first.contact_id, "Ada Lovelace", expected_version=1)
    third = await adelete_contact(first.contact_id)
    assert {(each.owner, each.depends_on) for each in await rows_in_order()} == {("", "")}
    async with open_journal() as journal:
        await journal.catch_up()
    found = await rows_in_order()
    assert [(each.number, each.owner) for each in found] == [(1, "gateway-1"), (2, "gateway-1"), (3, "gateway-1")]
    assert [each.depends_on for each in found] == ["", found[0].command_id, found[1].command_id]
    assert (found[2].command_id, found[2].kind) == (third.command_id, "contact.delete")


def test_a_key_is_idempotent_and_tells_nothing_of_what_it_was_used_for() -> None:
    assert add_contact("Ada", command_id="key-1") == add_contact("Ada", command_id="key-1")
    with pytest.raises(KeyConflict, match=r"^command id key-1 was used before with other arguments$"):
        add_contact("Bob", command_id="key-1")
    assert Command.objects.count() == 1


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InvalidCommand, match="name must not be empty"):
        update_contact("c1", " ")
    assert not Command.objects.exists()


def test_a_full_journal_refuses(settings: Any) -> None:
    settings.CQRS = {**settings.CQRS, "JOURNAL_LIMIT": 2}
    add_contact("Ada")
    add_contact("Bob")
    with pytest.raises(JournalFull):
        add_contact("Eve")
    Command.objects.update(settled_at="2025-01-01T00:00:00Z")
    add_contact("Eve")


def test_a_database_that_fails_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(Insertion, "write", full)
    with pytest.raises(JournalUnavailable, match="database or disk is full"):
        add_contact("Ada")


def test_a_command_is_part_of_the_callers_transaction() -> None:
    with transaction.atomic():
        add_contact("Ada")
        assert Command.objects.count() == 1
        transaction.set_rollback(True)
    assert not Command.objects.exists()


def test_cancelling_asks_for_it_once() -> None:
    accepted = add_contact("Ada")
    assert cancel_command(accepted.command_id, actor="grace") == accepted
    command = Command.objects.get()
    asked_at = command.cancel_requested_at
    assert (asked_at is not None, command.cancel_requested_by, command.state) == (True, "grace", "QUEUED")
    cancel_command(accepted.command_id, actor="alan")
    command.refresh_from_db()
    assert (command.cancel_requested_at, command.cancel_requested_by) == (asked_at, "grace")


def test_what_is_unknown_or_has_ended_cannot_be_cancelled() -> None:
    with pytest.raises(UnknownCommand):
        cancel_command("nothing")
    accepted = add_contact("Ada")
    Command.objects.update(state="REJECTED", settled_at="2025-01-01T00:00:00Z")
    with pytest.raises(NotCancellable, match="is rejected already"):
        cancel_command(accepted.command_id)


@pytest.mark.django_db(databases=["default", "contacts"], transaction=True)
async def test_the_asynchronous_twins_do_the_same() -> None:
    added = await aadd_contact("Ada")
    await aupdate_contact(added.contact_id, "Ada Lovelace")
    deleted = await adelete_contact(added.contact_id)
    assert await acancel_command(deleted.command_id) == deleted
    assert [(found.verb, name_of(found)) async for found in Command.objects.order_by("number")] == [
        ("add", "Ada"),
        ("update", "Ada Lovelace"),
        ("delete", ""),
    ]


def test_the_package_offers_what_it_names_and_nothing_else() -> None:
    for name in contacts_write.__all__:
        assert callable(getattr(contacts_write, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = contacts_write.nothing


class TestAtOnce:
    def test_commands_take_effect_before_their_call_returns(self) -> None:
        with commands_take_effect_at_once():
            added = add_contact("Ada")
            assert Contact.objects.get(id=added.contact_id).name == "Ada"
            renamed = update_contact(added.contact_id, "Ada Lovelace", expected_version=1)
            assert Contact.objects.get(id=added.contact_id).name == "Ada Lovelace"
            delete_contact(added.contact_id)
            assert not Contact.objects.filter(id=added.contact_id).exists()
        assert [command.state for command in Command.objects.all()] == ["APPLIED"] * 3
        assert Command.objects.get(command_id=renamed.command_id).version == 2

    def test_a_rejection_is_recorded_with_its_reason(self) -> None:
        with commands_take_effect_at_once():
            update_contact("nobody", "Ada")
        command = Command.objects.get()
        assert (command.state, command.reason) == ("REJECTED", "NOT_FOUND")

    def test_a_key_takes_effect_once(self) -> None:
        with commands_take_effect_at_once():
            assert add_contact("Ada", command_id="key-1") == add_contact("Ada", command_id="key-1")
        assert Contact.objects.count() == 1

    def test_outside_of_the_context_commands_are_queued_again(self) -> None:
        with commands_take_effect_at_once():
            pass
        add_contact("Ada")
        assert Command.objects.get().state == "QUEUED"

    def test_a_command_that_was_queued_before_can_be_cancelled_at_once(self) -> None:
        accepted = add_contact("Ada")
        with commands_take_effect_at_once():
            cancel_command(accepted.command_id)
        assert Command.objects.get().state == "CANCELLED"
        assert not Contact.objects.exists()

    def test_what_depends_on_a_command_queued_before_is_a_clear_error(self) -> None:
        accepted = add_contact("Ada")
        with commands_take_effect_at_once(), pytest.raises(RuntimeError, match="accepted before"):
            update_contact(accepted.contact_id, "Bob")


class TestAdmin:
    LIST = "admin:cqrs_command_changelist"

    def test_commands_are_listed_searched_and_filtered(self, admin_client: Client) -> None:
        ada, bob = add_contact("Ada", actor="grace"), update_contact("c1", "Bob")
        for query, expected in [
            ("", [bob, ada]),
            (f"?q={ada.command_id}", [ada]),
            ("?q=c1", [bob]),
            ("?q=grace", [ada]),
            ("?q=Bo", [bob]),
            ("?kind=contact.add", [ada]),
            ("?state__exact=APPLIED", []),
        ]:
            shown = admin_client.get(reverse(self.LIST) + query).context["cl"].result_list
            assert [command.command_id for command in shown] == [each.command_id for each in expected], query

    def test_a_command_links_to_its_contact_and_notices(self, admin_client: Client) -> None:
        accepted = add_contact("Ada")
        page = admin_client.get(reverse("admin:cqrs_command_change", args=[Command.objects.get().pk]))
        text = page.content.decode()
        assert f'{reverse("admin:database_service_contact_changelist")}?q={accepted.contact_id}"' in text
        assert f'{reverse("admin:cqrs_notice_changelist")}?q={accepted.command_id}"' in text
        assert 'name="_save"' not in text

    def test_selected_commands_are_cancelled_in_the_users_name(self, admin_client: Client) -> None:
        ada, bob = add_contact("Ada").command_id, add_contact("Bob").command_id
        Command.objects.filter(command_id=bob).update(state="APPLIED", settled_at="2025-01-01T00:00:00Z")
        answer = admin_client.post(
            reverse(self.LIST),
            {"action": "cancel", "_selected_action": [command.pk for command in Command.objects.all()]},
            follow=True,
        )
        said = [str(message) for message in answer.context["messages"]]
        assert said[0].startswith("The cancel of 1 command is on its way")
        assert said[1].endswith("is applied already.")
        assert Command.objects.get(command_id=ada).cancel_requested_by == "admin"
        assert Command.objects.get(command_id=bob).cancel_requested_at is None

    def test_nothing_can_be_added_changed_or_deleted(self, admin_client: Client) -> None:
        add_contact("Ada")
        pk = Command.objects.get().pk
        assert admin_client.get(reverse("admin:cqrs_command_add")).status_code == 403
        assert admin_client.post(reverse("admin:cqrs_command_change", args=[pk]), {}).status_code == 403
        assert admin_client.get(reverse("admin:cqrs_command_delete", args=[pk])).status_code == 403

    def test_who_may_only_look_may_not_cancel(self, client: Client) -> None:
        user = User.objects.create_user("viewer", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_command"))
        client.force_login(user)
        add_contact("Ada")
        page = client.get(reverse(self.LIST))
        assert page.status_code == 200
        assert "Cancel selected" not in page.content.decode()
        user.user_permissions.add(Permission.objects.get(codename="change_command"))
        assert "Cancel selected" in client.get(reverse(self.LIST)).content.decode()
