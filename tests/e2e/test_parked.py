"""An operator at the admin of the real processes: parked commands retried, amended and discarded, through crashes."""

import html
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import aiomqtt
import httpx
import pytest

from cqrs.store.models import ParkedCommand
from protocol.contact_pb2 import Contact
from tests.e2e.altered import program
from tests.e2e.clients import UPDATE, Client, Json, Notices, eventually, subscribed
from tests.support.processes import Stack, run_manage

DELAY = 0.3
WITHIN = 15.0
LIST = "/admin/cqrs/parkedcommand/"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        stack.broker(), stack.reader(), stack.writer(), stack.gateway()
        stack.database().command = program("defective_database", "rundatabase")
        stack.start()
        run_manage(stack, "createfirstuser", "grace", DJANGO_SUPERUSER_PASSWORD="a-compiler-1952")
        yield stack


class Operator:
    """Who is logged in to the admin, and does there what a person would."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def log_in(self) -> None:
        await self._http.get("/admin/login/")
        await self._post("/admin/login/", username="grace", password="a-compiler-1952", next=LIST)

    async def looks(self, path: str = LIST) -> str:
        answer = await self._http.get(path)
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)

    async def decides(self, action: str, *command_ids: str) -> str:
        """Chooses an action for the commands, confirms what it shows, and returns what is said then."""
        shown = await self._post(LIST, action=action, _selected_action=list(command_ids))
        (seen,) = re.findall('name="seen" value="([^"]*)"', shown)
        return await self._post(LIST, action=action, _selected_action=list(command_ids), seen=seen)

    async def amends(self, command_id: str, **fields: str) -> str:
        page = f"{LIST}{command_id}/amend/"
        (notice,) = re.findall('name="notice" value="([0-9]+)"', await self.looks(page))
        return await self._post(page, notice=notice, _amend="", **fields)

    async def _post(self, path: str, **form: object) -> str:
        token = self._http.cookies["csrftoken"]
        answer = await self._http.post(path, data={"csrfmiddlewaretoken": token, **form}, follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)


@pytest.fixture
async def operator(stack: Stack) -> AsyncIterator[Operator]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=15) as http:
        operator = Operator(http)
        await operator.log_in()
        yield operator


@pytest.fixture
async def notices(stack: Stack) -> AsyncIterator[Notices]:
    async with subscribed(stack.url) as notices:
        yield notices


async def is_in(client: Client, state: str, *commands: Json) -> None:
    """Waits until all of the commands are said to be in this state."""

    async def said() -> bool:
        return {await client.state(command["commandId"]) for command in commands} == {state}

    await eventually(said, within=WITHIN, what=f"all are {state}")


def parked(stack: Stack) -> list[str]:
    with closing(sqlite3.connect(stack.var / "contacts.sqlite3")) as database:
        return [row[0] for row in database.execute(f"SELECT command_id FROM {ParkedCommand._meta.db_table}")]


async def test_an_operator_sees_why_commands_are_parked_and_ends_each_once_in_order(
    stack: Stack, client: Client, notices: Notices, operator: Operator
) -> None:
    one, two = await client.add("defect one"), await client.add("defect two")
    behind = (await client.data(UPDATE, id=one["contactId"], name="renamed behind"))["updateContact"]
    await is_in(client, "PARKED", one, two, behind)
    shown = await operator.looks()
    assert "ZeroDivisionError: a planted defect (2)" in shown
    assert "waits behind a parked command (1)" in shown

    # A retry that fails again is news.
    assert "Queued to retry" in await operator.decides("retry", one["commandId"])
    said = "Parked again: ZeroDivisionError: a planted defect (retried by grace)"

    async def said_again() -> bool:
        return bool((await client.command(one["commandId"]))["message"] == said)

    await eventually(said_again, within=WITHIN, what="that it failed again is said")

    # Decided while the broker is down, and sent through the death of all who carry it.
    stack["broker"].kill()
    assert "Queued to amend" in await operator.amends(one["commandId"], name="whole")
    assert "Queued to discard" in await operator.decides("discard", two["commandId"])
    stack["database"].kill()
    stack["writer"].kill()
    for name in ("broker", "writer", "database"):
        stack[name].start(wait=False)
    await is_in(client, "APPLIED", one, behind)
    await is_in(client, "DISCARDED", two)

    told: list[Json] = []
    while not {"DISCARDED", "ADDED", "UPDATED"} <= {notice["kind"] for notice in told}:
        told.append(await notices.next(WITHIN))
    of_one = [(notice["kind"], notice["message"]) for notice in told if notice["contactId"] == one["contactId"]]
    assert [kind for kind, _ in of_one] == ["PARKED", "PARKED", "PARKED", "ADDED", "UPDATED"]
    assert of_one[3][1] == "Contact added (amended by grace)"
    (discarded,) = [notice for notice in told if notice["kind"] == "DISCARDED"]
    assert (discarded["commandId"], discarded["message"]) == (two["commandId"], "Discarded by grace")
    assert await client.names() == ["renamed behind"]
    assert parked(stack) == []


async def test_a_parked_command_of_a_foreign_client_is_adopted_by_what_is_decided_about_it(
    stack: Stack, client: Client, operator: Operator
) -> None:
    host, _, port = stack.address["broker"].rpartition(":")
    async with aiomqtt.Client(host, int(port)) as broker:
        await broker.publish("CONTACT/ADD", Contact(name="defect of a stranger").SerializeToString(), qos=1)

    async def is_parked() -> bool:
        return len(parked(stack)) == 1

    await eventually(is_parked, within=WITHIN, what="the stranger's command is parked")
    (command_id,) = parked(stack)
    assert (await client.data("query($id: String!) { command(id: $id) { id } }", id=command_id))["command"] is None
    assert "Queued to amend" in await operator.amends(command_id, name="a stranger")
    await is_in(client, "APPLIED", {"commandId": command_id})
    assert "a stranger" in await client.names()
    assert "Traceback" not in stack["gateway"].log()


async def test_many_are_retried_at_once_after_the_defect_was_mended(
    stack: Stack, client: Client, operator: Operator
) -> None:
    added = [await client.add(f"defect {number}") for number in range(40)]
    await is_in(client, "PARKED", *added)
    (stack.var / "mended").write_text("yes")
    await operator.decides("retry", *(command["commandId"] for command in added))
    await is_in(client, "APPLIED", *added)
    assert parked(stack) == []
    assert sum(name.startswith("defect ") for name in await client.names()) == 40
