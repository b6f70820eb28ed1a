"""Who is behind a request: Django's session, read outside of Django's middleware."""

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.test import Client

from cqrssite.graphql.actor import actor_of
from cqrssite.graphql.http.endpoint import GraphQLEndpoint
from tests.support.fake_gateway import FakeGateway, Settings

pytestmark = pytest.mark.django_db(transaction=True)


def logged_in(*, active: bool = True) -> str:
    """The session key of a user who logged in."""
    user = get_user_model().objects.create_user("grace")
    client = Client()
    client.force_login(user)
    user.is_active = active
    user.save()
    return client.cookies["sessionid"].value


async def actor(cookie: str) -> str:
    return await actor_of({b"cookie": cookie.encode()})


async def test_a_session_names_its_user() -> None:
    key = await sync_to_async(logged_in)()
    assert await actor(f"csrftoken=x; sessionid={key}; other=1") == "grace"


async def test_a_user_who_is_no_longer_active_is_nobody() -> None:
    key = await sync_to_async(logged_in)(active=False)
    assert await actor(f"sessionid={key}") == ""


@pytest.mark.parametrize("cookie", ["", "sessionid=", "sessionid=unknown", "csrftoken=x", "\x00=;;;", "sessionid"])
async def test_without_a_valid_session_it_is_nobody(cookie: str) -> None:
    assert await actor(cookie) == ""


async def test_a_mutation_carries_who_sent_it() -> None:
    key = await sync_to_async(logged_in)()
    gateway = FakeGateway()
    transport = httpx.ASGITransport(GraphQLEndpoint(lambda: gateway, Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        body = {"query": 'mutation { addContact(name: "Ada") { status } }'}
        await client.post("/graphql", json=body, headers={"cookie": f"sessionid={key}"})
    assert gateway.journal.accepted[0].meta.actor == "grace"
