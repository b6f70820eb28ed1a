"""What the database service keeps, in the admin."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from cqrs.store import dead_letters, malformed
from cqrs.store.apply import apply
from cqrs.store.models import MalformedMessage
from cqrs.store.notices import head
from protocol.cqrs_write_pb2 import Malformed
from tests.support.envelopes import add, contact_of, update

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "contacts"])

MODELS = ["notice", "parkedcommand", "malformedmessage", "databaseidentity"]


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def rows() -> dict[str, object]:
    """One row of each model, by name of the model: its key."""
    command = add("Ada <b>Lovelace</b>", command_id="one")
    apply([command, update("nobody", command_id="two")])
    dead_letters.write(
        [
            dead_letters.Parking(
                "two", "contact", "ada", command.SerializeToString(), "a cause", ValueError(), "", 2, first=True
            )
        ],
        1,
    )
    malformed.record([Malformed(topic="CONTACT/ADD", payload=b"\xff" * 3000, reason="no Contact")])
    head()
    return {
        "notice": 1,
        "parkedcommand": "two",
        "malformedmessage": MalformedMessage.objects.get().pk,
        "databaseidentity": 1,
    }


@pytest.mark.parametrize("model", MODELS)
def test_rows_can_be_looked_at_and_not_changed(client: Client, rows: dict[str, object], model: str):
    name = f"admin:cqrs_{model}"
    assert client.get(reverse(f"{name}_changelist")).status_code == 200
    page = client.get(reverse(f"{name}_change", args=[rows[model]]))
    assert page.status_code == 200
    assert 'name="_save"' not in page.text
    assert client.get(reverse(f"{name}_add")).status_code == 403
    assert client.post(reverse(f"{name}_change", args=[rows[model]]), {}).status_code == 403
    assert client.post(reverse(f"{name}_delete", args=[rows[model]]), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("query", [{"q": "one"}, {"q": "Ada"}, {"kind__exact": 1}, {"within": 24, "kind__exact": 1}])
def test_notices_are_searched_and_filtered(client: Client, rows: dict[str, object], query: dict[str, object]):
    page = client.get(reverse("admin:cqrs_notice_changelist"), query)
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt;" in page.text
    assert "user with id nobody not found" not in page.text


def test_a_notice_is_found_by_its_contact(client: Client, rows: dict[str, object]):
    page = client.get(reverse("admin:cqrs_notice_changelist"), {"q": contact_of(add(command_id="one"))})
    assert "1 notice" in page.text


def test_parked_commands_are_filtered_by_cause_and_link_to_their_notices(client: Client, rows: dict[str, object]):
    page = client.get(reverse("admin:cqrs_parkedcommand_changelist"), {"cause": "a cause"})
    assert f"{reverse('admin:cqrs_notice_changelist')}?q=two" in page.text
    page = client.get(reverse("admin:cqrs_parkedcommand_change", args=["two"]))
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt;" in page.text, "it shows what the command says"


def test_an_unknown_age_filters_nothing(client: Client, rows: dict[str, object]):
    page = client.get(reverse("admin:cqrs_notice_changelist"), {"within": "x"})
    assert "user with id nobody not found" in page.text
