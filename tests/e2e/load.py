"""Light load: contacts are added and one is renamed over and over, whatever is down; what was accepted is kept."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx

from tests.e2e.clients import ADD, UPDATE, Client, eventually, subscribed

# Between two mutations of one kind, in seconds.
PACE = 0.04


@dataclass
class Accepted:
    """What a gateway said is queued, by command id."""

    added: dict[str, str] = field(default_factory=dict)  # the name; each is given once
    renamed: dict[str, str] = field(
        default_factory=dict
    )  # the name, "renamed 7", counting up in the order of acceptance

    def __len__(self) -> int:
        return len(self.added) + len(self.renamed)

    def ids(self) -> set[str]:
        return {*self.added, *self.renamed}

    async def grown_by(self, count: int, within: float = 15) -> None:
        """Waits until so many more were accepted."""
        goal = len(self) + count

        async def reached() -> bool:
            return len(self) >= goal

        await eventually(reached, within=within, what=f"{count} more mutations are accepted")


@contextlib.asynccontextmanager
async def light_load(url: str, accepted: Accepted, contact_id: str) -> AsyncIterator[None]:
    """Adds contacts and renames `contact_id` for as long as the context lasts."""
    async with Client(url) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_add(client, accepted)), group.create_task(_rename(client, accepted, contact_id))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _add(client: Client, accepted: Accepted) -> None:
    for number in itertools.count(len(accepted.added)):
        # One that was not answered may have been accepted; so its name is not given again.
        name = f"contact {number} {id(client)}"
        if command_id := await _accepted(client, "addContact", ADD, name=name):
            accepted.added[command_id] = name
        await asyncio.sleep(PACE)


async def _rename(client: Client, accepted: Accepted, contact_id: str) -> None:
    for number in itertools.count(len(accepted.renamed)):
        name = f"renamed {number}"
        if command_id := await _accepted(client, "updateContact", UPDATE, id=contact_id, name=name):
            accepted.renamed[command_id] = name
        await asyncio.sleep(PACE)


async def _accepted(client: Client, mutation: str, document: str, **variables: object) -> str | None:
    """The command's id, or None when the gateway was away. That it refuses is an error here: nothing is full."""
    try:
        answer = await client.execute(document, **variables)
    except httpx.TransportError:
        return None
    assert "errors" not in answer, answer
    command_id: str = answer["data"][mutation]["commandId"]
    return command_id


async def assert_each_took_effect_once(url: str, accepted: Accepted, within: float) -> None:
    """Every accepted command has exactly one notice and is APPLIED; renames took effect in the order of acceptance."""
    async with Client(url) as client:
        async with subscribed(url, afterPosition="0") as notices:
            seen = await notices.until_seen(accepted.ids(), within=within)
        repeated = {command: count for command, count in Counter(n["commandId"] for n in seen).items() if count > 1}
        assert not repeated, f"commands with more than one notice: {repeated}"
        rejected = [notice for notice in seen if notice["kind"] not in ("ADDED", "UPDATED")]
        assert not rejected

        effects = [notice["contact"]["name"] for notice in seen if notice["commandId"] in accepted.renamed]
        assert effects == list(accepted.renamed.values())

        names = Counter(await client.names())
        wrong = {name: names[name] for name in accepted.added.values() if names[name] != 1}
        assert not wrong, f"contacts that are not there exactly once: {wrong}"

        for command_id in (*list(accepted.added)[-20:], *list(accepted.renamed)[-20:]):
            assert await client.state(command_id) == "APPLIED"
