"""Parked commands in the admin: grouped by cause, previewed, and decided about by commands."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.http import HttpResponse
from django.test import Client

from cqrs.journal import rows
from cqrs.journal.models import Command
from cqrs.store.apply import apply
from cqrs.store.models import ParkedCommand
from cqrssite.admin import parked as parked_pages
from cqrssite.testing import commands_take_effect_at_once
from database_service.models import Contact
from tests.support.envelopes import add, contact_of, id_of, name_of, update

pytestmark = pytest.mark.django_db(databases=["default", "contacts"], transaction=True)

LIST = "/admin/cqrs/parkedcommand/"


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def parked(defects: set[str]) -> list[str]:
    """Two that failed and one behind the first, by id; mended since."""
    first, other = add("Ada", command_id="one"), add("Bob", command_id="two")
    behind = update(contact_of(first), "Grace", depends_on="one", command_id="three")
    defects |= {"one", "two"}
    apply([first, other, behind])
    defects.clear()
    return ["one", "two", "three"]


def text(answer: HttpResponse) -> str:
    assert answer.status_code == 200, answer
    return answer.content.decode()


def decide(client: Client, action: str, *ids: str) -> str:
    """Chooses the action in the list, reads what would become of them, confirms, and returns what is said then."""
    page = client.post(LIST, {"action": action, "_selected_action": ids})
    form = {"action": action, "_selected_action": ids, "seen": page.context["seen"]}
    assert 'name="seen"' in text(page)
    return text(client.post(LIST, form, follow=True))


def test_they_are_grouped_by_cause_with_counts(admin_client: Client, parked: list[str]) -> None:
    shown = text(admin_client.get(LIST))
    assert "ZeroDivisionError: a planted defect (2)" in shown
    assert "waits behind a parked command (1)" in shown
    one = admin_client.get(LIST, {"cause": "ZeroDivisionError: a planted defect"})
    assert sorted(row.pk for row in one.context["cl"].queryset) == ["one", "two"]
    assert "update &quot;Grace&quot;" in shown, "what each asks for"
    for waits, ids in {"yes": ["three"], "no": ["one", "two"]}.items():
        some = admin_client.get(LIST, {"waits": waits})
        assert sorted(row.pk for row in some.context["cl"].queryset) == ids


def test_the_actions_show_first_what_would_become_of_them(admin_client: Client, parked: list[str]) -> None:
    shown = text(admin_client.post(LIST, {"action": "retry", "_selected_action": parked}))
    assert "2 would be added" in shown
    assert "1 would be updated" in shown
    assert "“Ada”, version 1" in shown
    assert "“Grace”, version 2" in shown
    assert "Retry 2" in shown, "what waits behind another follows by itself"
    assert "Discard 3" in shown
    assert not Command.objects.exists(), "nothing is queued yet"


def test_retrying_queues_those_in_front_in_the_users_name_and_says_so(admin_client: Client, parked: list[str]) -> None:
    said = decide(admin_client, "retry", *parked)
    assert "Queued to retry <a" in said
    assert "2 commands</a>" in said
    assert "1 command is not retried: they wait for another and follow when that ends" in said
    found = Command.objects.order_by("command_id").values_list("command_id", "operation", "operation_by", "state")
    assert list(found) == [("one", "RETRY", "admin", "PARKED"), ("two", "RETRY", "admin", "PARKED")]
    link = next(part for part in said.split('"') if part.startswith("/admin/cqrs/command/?command_id__in"))
    assert sorted(row.pk for row in admin_client.get(link.replace("&amp;", "&")).context["cl"].queryset) == sorted(
        Command.objects.values_list("pk", flat=True)
    )


def test_one_is_decided_about_from_its_own_page(admin_client: Client, parked: list[str]) -> None:
    page = text(admin_client.get(f"{LIST}one/change/"))
    assert f"{LIST}one/decide/" in page
    assert f"{LIST}one/amend/" in page
    assert "Retry 1" in text(admin_client.get(f"{LIST}one/decide/"))
    behind = text(admin_client.get(f"{LIST}three/decide/"))
    assert "Retry" not in behind.partition('class="submit-row"')[2], "it follows by itself"
    assert "Discard 1" in behind
    said = decide(admin_client, "discard", "one")
    assert 'Queued to discard <a href="/admin/cqrs/command/?command_id__in=one">command one</a>' in said
    assert Command.objects.get().operation == "DISCARD"


def test_what_was_decided_takes_effect(admin_client: Client, parked: list[str]) -> None:
    with commands_take_effect_at_once():
        decide(admin_client, "retry", "two")
        decide(admin_client, "discard", "one")
    assert list(Contact.objects.values_list("name", flat=True)) == ["Bob"]
    assert dict(Command.objects.values_list("command_id", "state")) == {"one": "DISCARDED", "two": "APPLIED"}
    assert list(ParkedCommand.objects.values_list("pk", "behind")) == [("three", "")], "released, and soon tried"


def test_what_changed_since_the_user_looked_is_left_alone(admin_client: Client, parked: list[str]) -> None:
    page = admin_client.post(LIST, {"action": "discard", "_selected_action": parked})
    ParkedCommand.objects.filter(pk="one").update(notice=99)
    ParkedCommand.objects.filter(pk="two").delete()
    form = {"action": "discard", "_selected_action": parked, "seen": page.context["seen"]}
    said = text(admin_client.post(LIST, form, follow=True))
    assert "2 commands are left alone: they ended, were tried or decided about since you looked" in said
    assert list(Command.objects.values_list("command_id", flat=True)) == ["three"]


def test_another_decision_that_is_on_its_way_is_said(admin_client: Client, parked: list[str]) -> None:
    decide(admin_client, "retry", "one")
    assert "Queued to retry" in decide(admin_client, "retry", "one"), "the same again is no news"
    said = decide(admin_client, "discard", "one", "two")
    assert "Not queued: to retry command one, as admin decided, is on its way." in said
    assert Command.objects.get(command_id="two").operation == "DISCARD"


def test_a_command_is_amended_after_a_look_at_what_would_become_of_it(admin_client: Client, parked: list[str]) -> None:
    address = f"{LIST}one/amend/"
    shown = text(admin_client.get(address))
    assert 'value="Ada"' in shown
    assert "expected_version" not in shown, "an add has none"
    notice = ParkedCommand.objects.get(pk="one").notice
    shown = text(admin_client.post(address, {"name": "Eve", "notice": notice, "_preview": ""}))
    assert "As amended, tried now" in shown
    assert "“Eve”, version 1" in shown
    assert not Command.objects.exists()
    said = text(admin_client.post(address, {"name": " Eve ", "notice": notice, "_amend": ""}, follow=True))
    assert "Queued to amend <a" in said
    row = Command.objects.get()
    assert (name_of(row.body), name_of(row.amended_body)) == ("Ada", "Eve")
    assert (row.operation, row.operation_by) == ("AMEND", "admin")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "tab\there"}, "control character"),
        ({"name": "Eve", "expected_version": "0"}, "greater than or equal to 1"),
        ({"name": "Eve", "notice": "77"}, "It was tried or decided about since you looked"),
    ],
)
def test_an_amendment_that_is_none_is_refused_in_the_form(
    admin_client: Client, parked: list[str], data: dict[str, str], why: str
) -> None:
    form = {"notice": str(ParkedCommand.objects.get(pk="three").notice), "_amend": "", **data}
    assert why in text(admin_client.post(f"{LIST}three/amend/", form))
    assert not Command.objects.exists()


def test_when_the_journal_cannot_be_written_nothing_is_queued_and_that_is_said(
    admin_client: Client, parked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OperationalError("disk is full")

    monkeypatch.setattr(rows, "draw", refuse)
    said = decide(admin_client, "retry", "one", "two")
    assert "Nothing is queued: the journal cannot be written: disk is full" in said
    assert not Command.objects.exists()


def test_at_most_so_many_are_decided_about_at_once(
    admin_client: Client, parked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_pages, "MAX_OPERATED", 2)
    monkeypatch.setattr(parked_pages, "MAX_SHOWN", 1)
    shown = text(admin_client.post(LIST, {"action": "discard", "_selected_action": parked}))
    assert "Only the first 2: decide about them, then about the rest" in shown
    assert "and 1 more" in shown
    assert "Discard 2" in shown


def test_who_may_only_look_decides_nothing(parked: list[str]) -> None:
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_parkedcommand"))
    client = Client()
    client.force_login(user)
    shown = text(client.get(LIST))
    assert "amend" not in shown
    assert "discard" not in shown
    assert f"{LIST}one/amend/" not in text(client.get(f"{LIST}one/change/"))
    for page in ("amend", "decide"):
        assert client.get(f"{LIST}one/{page}/").status_code == 403
    client.post(LIST, {"action": "discard", "_selected_action": parked, "seen": "one 1 two 2 three 3"})
    assert not Command.objects.exists()


def test_what_is_not_parked_any_more_leads_to_the_list_and_to_what_became_of_it(admin_client: Client) -> None:
    for page in ("amend", "decide"):
        shown = admin_client.get(f"{LIST}ended/{page}/", follow=True)
        assert shown.redirect_chain == [(LIST, 302)]
        said = 'Not parked (any more): <a href="/admin/cqrs/command/?q=ended">command ended</a>'
        assert said in text(shown)


def test_ids_of_foreign_clients_with_odd_characters_are_served(admin_client: Client, defects: set[str]) -> None:
    odd = add("Ada", command_id="a.b:c_d-e")
    defects.add(id_of(odd))
    apply([odd])
    assert "Retry 1" in text(admin_client.get(f"{LIST}{id_of(odd)}/decide/"))
    assert f"{LIST}a.b:c_d-e/amend/" in text(admin_client.get(LIST))
