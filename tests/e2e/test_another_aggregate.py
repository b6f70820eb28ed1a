"""An aggregate of a team's own, added by a setting, in the five real processes: it keeps the promises of contacts."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.e2e.clients import Client, subscribed
from tests.support.processes import Stack, run_manage

WRITE = """mutation($text: String!, $id: String!) {
  writeNote(text: $text, author: "ada", commandId: $id) { status message noteId } }"""
REWRITE = """mutation($note: String!, $text: String!, $id: String!) {
  rewriteNote(id: $note, text: $text, commandId: $id) { status message } }"""
CHANGED = """subscription($note: String, $after: String) {
  noteChanged(noteId: $note, afterPosition: $after) {
    position kind commandId message reason note { id text author version } } }"""
NOTE = "query($id: String!, $after: String) { note(id: $id, afterCommand: $after) { text author version } }"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=0.3, extra_apps="tests.aggregates.note") as stack:
        for database in ("default", "contacts"):
            run_manage(stack, "migrate", "--database", database, "--verbosity", "0")
        yield stack.start_ring()


class Editor:
    """Rewrites one note again and again, and sends each command until it is answered."""

    def __init__(self, client: Client, note: str) -> None:
        self._client, self._note = client, note
        self.sent: list[str] = []

    async def rewrite(self, times: int) -> None:
        for _ in range(times):
            command_id = uuid4().hex
            text = f"draft {len(self.sent)} of {self._note}"
            while True:
                try:
                    answer = await self._client.execute(REWRITE, note=self._note, text=text, id=command_id)
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    break
            assert answer["data"]["rewriteNote"] == {"status": "OK", "message": "Queued to rewrite"}, answer
            self.sent.append(command_id)
            await asyncio.sleep(0.02)


@pytest.fixture
async def note(client: Client) -> str:
    written = await client.data(WRITE, text=f"a note {uuid4().hex}", id=uuid4().hex)
    note: str = written["writeNote"]["noteId"]
    return note


async def test_what_becomes_of_a_note_is_seen(stack: Stack, client: Client) -> None:
    async with subscribed(stack.url, CHANGED) as notices:
        text, first = f"milk {uuid4().hex}", uuid4().hex
        written = (await client.data(WRITE, text=text, id=first))["writeNote"]
        assert (written["status"], written["message"]) == ("OK", "Queued to write")
        await client.data(WRITE, text=text, id=(second := uuid4().hex))
        notices_by_id = {each["commandId"]: each for each in await notices.until_seen({first, second})}
    assert notices_by_id[first]["kind"] == "ADDED"
    assert notices_by_id[first]["note"] == {"id": written["noteId"], "text": text, "author": "ada", "version": 1}
    rejected = notices_by_id[second]
    assert (rejected["kind"], rejected["reason"]) == ("REJECTED", "CONFLICT")
    assert rejected["message"] == "there is a note of this text already"


@pytest.mark.parametrize("victim", ["writer", "gateway"])
async def test_a_kill_loses_no_command_of_a_note_and_repeats_none(
    stack: Stack, client: Client, note: str, victim: str
) -> None:
    editor = Editor(client, note)
    await editor.rewrite(15)
    stack[victim].kill()
    editing = asyncio.create_task(editor.rewrite(15))
    await asyncio.sleep(0.2)
    stack[victim].start()
    await editing
    await editor.rewrite(5)
    async with subscribed(stack.url, CHANGED, note=note, after="0") as notices:
        seen = await notices.until_seen(set(editor.sent), within=20)
    changes = [each for each in seen if each["kind"] == "UPDATED"]
    assert [each["commandId"] for each in changes] == editor.sent
    assert [each["note"]["version"] for each in changes] == list(range(2, len(editor.sent) + 2))
    stored = (await client.data(NOTE, id=note, after=editor.sent[-1]))["note"]
    assert stored == {key: changes[-1]["note"][key] for key in ("text", "author", "version")}
