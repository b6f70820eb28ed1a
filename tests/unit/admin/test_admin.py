"""Contacts in the admin: looked at in rows, changed by commands, and said to be queued."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client

from cqrs.journal.models import Command
from database_service.models import Contact
from tests.support.envelopes import name_of

pytestmark = pytest.mark.django_db(databases=["default", "contacts"])

LIST = "/admin/database_service/contact/"


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def contact() -> Contact:
    return Contact.objects.create(id="c1", name="Ada", last_updated=datetime.now(UTC), version=3, added_by=1)


def text(answer: HttpResponse) -> str:
    assert answer.status_code == 200, answer
    return answer.content.decode()


def test_contacts_are_listed_searched_and_filtered(admin_client: Client, contact: Contact) -> None:
    Contact.objects.create(id="c2", name="Grace", last_updated=datetime(2020, 1, 1, tzinfo=UTC), version=1, added_by=2)
    shown = text(admin_client.get(LIST))
    assert "Ada" in shown
    assert "Grace" in shown
    for query, expected in [("q=Gra", "c2"), ("q=c1", "c1"), ("changed_within=1", "c1"), ("changed=no", "c2")]:
        result = admin_client.get(f"{LIST}?{query}").context["cl"].queryset
        assert [row.pk for row in result] == [expected], query


def test_a_contact_links_to_its_notices_and_commands(admin_client: Client, contact: Contact) -> None:
    shown = text(admin_client.get(f"{LIST}c1/change/"))
    for link in (
        "/admin/cqrs/notice/?aggregate=contact&amp;aggregate_id=c1",
        "/admin/cqrs/command/?aggregate=contact&amp;aggregate_id=c1",
    ):
        assert link in shown
        assert admin_client.get(link.replace("&amp;", "&")).status_code == 200


def test_adding_queues_a_command_in_the_users_name_and_says_so(admin_client: Client) -> None:
    answer = admin_client.post(f"{LIST}add/", {"name": "  Ada  "}, follow=True)
    command = Command.objects.get()
    assert (command.kind, name_of(command.body), command.actor, command.state) == (
        "contact.add",
        "Ada",
        "admin",
        "QUEUED",
    )
    assert not Contact.objects.exists()
    assert answer.redirect_chain == [(LIST, 302)]
    said = text(answer)
    assert "Queued to add; takes effect in" in said
    link = f"/admin/cqrs/command/?command_id={command.command_id}"
    assert link in said
    assert admin_client.get(link.replace("&amp;", "&")).status_code == 200


def test_adding_another_leads_to_an_empty_form(admin_client: Client) -> None:
    answer = admin_client.post(f"{LIST}add/", {"name": "Ada", "_addanother": "1"}, follow=True)
    assert answer.redirect_chain == [(f"{LIST}add/", 302)]


def test_changing_queues_an_update_of_the_version_that_was_shown(admin_client: Client, contact: Contact) -> None:
    shown = text(admin_client.get(f"{LIST}c1/change/"))
    assert '<input type="hidden" name="shown_version" value="3"' in shown
    assert "_continue" not in shown
    Contact.objects.update(version=4)
    answer = admin_client.post(f"{LIST}c1/change/", {"name": "Ada L.", "shown_version": "3"}, follow=True)
    command = Command.objects.get()
    assert (command.kind, command.aggregate_id, name_of(command.body)) == ("contact.update", "c1", "Ada L.")
    assert command.expected_version == 3
    assert Contact.objects.get().name == "Ada"
    assert "Queued to update" in text(answer)


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "tab\there"])
def test_a_name_that_is_none_is_refused_in_the_form(admin_client: Client, name: str) -> None:
    answer = admin_client.post(f"{LIST}add/", {"name": name})
    assert "errorlist" in text(answer)
    assert not Command.objects.exists()


def test_deleting_asks_then_queues_and_deletes_nothing(admin_client: Client, contact: Contact) -> None:
    assert "Are you sure" in text(admin_client.get(f"{LIST}c1/delete/"))
    answer = admin_client.post(f"{LIST}c1/delete/", {"post": "yes"}, follow=True)
    command = Command.objects.get()
    assert (command.kind, command.aggregate_id, command.actor) == ("contact.delete", "c1", "admin")
    assert Contact.objects.filter(pk="c1").exists()
    assert "Queued to delete; takes effect in" in text(answer)
    assert "deleted successfully" not in text(answer)


def test_deleting_several_asks_then_queues_each(admin_client: Client, contact: Contact) -> None:
    Contact.objects.create(id="c2", name="Grace", last_updated=datetime.now(UTC), version=1, added_by=2)
    chosen = {"action": "delete_selected", "_selected_action": ["c1", "c2"]}
    assert "Are you sure" in text(admin_client.post(LIST, chosen))
    assert not Command.objects.exists()
    answer = admin_client.post(LIST, {**chosen, "post": "yes"}, follow=True)
    assert sorted(Command.objects.values_list("verb", "aggregate_id")) == [("delete", "c1"), ("delete", "c2")]
    assert Contact.objects.count() == 2
    assert "Queued to delete 2 contacts" in text(answer)
    assert "Successfully deleted" not in text(answer)


def test_what_cannot_be_queued_is_said(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from cqrs.journal.errors import JournalFull

    def full(*_arguments: object, **_options: object) -> None:
        raise JournalFull

    monkeypatch.setattr("contacts_write.add_contact", full)
    answer = admin_client.post(f"{LIST}add/", {"name": "Ada"}, follow=True)
    assert "Not queued: Too many commands are unsettled" in text(answer)


def test_the_history_of_a_contact_is_its_notices(admin_client: Client, contact: Contact) -> None:
    answer = admin_client.get(f"{LIST}c1/history/", follow=True)
    assert answer.redirect_chain == [("/admin/cqrs/notice/?aggregate=contact&aggregate_id=c1", 302)]


def test_commands_take_the_place_of_log_entries(admin_client: Client, contact: Contact) -> None:
    admin_client.post(f"{LIST}add/", {"name": "Ada"})
    admin_client.post(f"{LIST}c1/change/", {"name": "Ada L."})
    admin_client.post(f"{LIST}c1/delete/", {"post": "yes"})
    assert Command.objects.count() == 3
    assert not LogEntry.objects.exists()


def test_every_list_of_the_admin_opens(admin_client: Client, contact: Contact) -> None:
    shown = text(admin_client.get("/admin/"))
    lists = {link for link in shown.split('"') if link.startswith("/admin/") and link.count("/") == 4}
    assert {LIST, "/admin/cqrs/notice/", "/admin/cqrs/command/"} <= lists
    for link in lists:
        assert admin_client.get(link.replace("&amp;", "&")).status_code == 200, link
        assert admin_client.get(f"{link}?q=x").status_code == 200, link


def test_the_first_user_is_made_once(capsys: pytest.CaptureFixture[str]) -> None:
    users = get_user_model().objects
    call_command("createfirstuser")
    password = capsys.readouterr().out.split("password ")[1].split()[0]
    assert users.get().is_superuser
    assert Client().login(username="admin", password=password)
    with pytest.raises(CommandError, match="there is a user already"):
        call_command("createfirstuser")
    assert users.get().check_password(password)


def test_a_password_that_is_given_is_checked_and_not_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "password")
    with pytest.raises(CommandError, match="too common"):
        call_command("createfirstuser", "grace")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a-compiler-1952")
    call_command("createfirstuser", "grace")
    assert "a-compiler-1952" not in capsys.readouterr().out
    assert get_user_model().objects.get().check_password("a-compiler-1952")


def test_force_gives_a_user_who_forgot_it_a_new_password(monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("createfirstuser")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "another-1959")
    call_command("createfirstuser", force=True)
    assert get_user_model().objects.get().check_password("another-1959")
