"""A hundred thousand commands pending: what each takes in memory, and the bound on them."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import ADD, Client, eventually, subscribed
from tests.e2e.topics import listening
from tests.support.processes import Service, Stack, run_manage

PENDING = 100_000
# Bytes that a pending command may take in each process.
GATEWAY, WRITER = 2_000, 2_000
LIMIT = 50

_JOURNAL = f"""
import asyncio
from cqrs.aggregate import verb_of
from cqrs.journal.commands import build
from cqrs.journal.journal import Journal

async def main():
    async with Journal(3600, {2 * PENDING}, "an earlier gateway") as journal:
        for start in range(0, {PENDING}, 2000):
            names = [f"pending {{number}}" for number in range(start, start + 2000)]
            await journal.accept([build(verb_of("contact.add"), {{"name": name}}) for name in names])

asyncio.run(main())
"""


def resident(service: Service) -> int:
    """Bytes of memory that are the process's own, besides files it has mapped."""
    for line in Path(f"/proc/{service.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


async def settled_down(service: Service) -> int:
    """Its memory once that no longer changes."""
    before = [0]

    async def steady() -> bool:
        await asyncio.sleep(0.5)
        before.append(resident(service))
        return abs(before[-1] - before[-2]) < 200_000

    await eventually(steady, within=20, what=f"the memory of the {service.name} is steady")
    return before[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_a_hundred_thousand_pending_commands_are_held_by_gateway_and_writer() -> None:
    with Stack(delay=3600) as stack:
        stack.start_ring()
        async with Client(stack.url) as client:
            first = await client.add("so that all is loaded")
        without = {name: await settled_down(stack[name]) for name in ("gateway", "writer")}
        stack["gateway"].terminate()
        run_manage(stack, "shell", "-c", _JOURNAL)
        async with listening(stack.address["broker"]) as heard:
            # What an earlier gateway left behind the next one asks for and sends, due or not.
            stack["gateway"].start()

            async def all_sent() -> bool:
                return len(heard.commands) > PENDING

            await eventually(all_sent, within=60, what="all that is pending is sent to the writer", every=0.5)
        per_command = {name: (await settled_down(stack[name]) - without[name]) / PENDING for name in without}
        print(f"bytes a pending command: gateway {per_command['gateway']:.0f}, writer {per_command['writer']:.0f}")
        assert per_command["gateway"] < GATEWAY
        assert per_command["writer"] < WRITER
        async with Client(stack.url) as client:
            assert await client.state(first["commandId"]) == "QUEUED"
            assert (await client.add("one more"))["status"] == "OK"


async def test_beyond_its_limit_the_journal_refuses_and_then_accepts_again() -> None:
    with Stack(delay=0.2, journal_limit=LIMIT) as stack:
        stack.broker(), stack.database(), stack.reader(), stack.writer(), stack.gateway()
        stack.start()
        stack["writer"].kill()
        async with Client(stack.url) as client, subscribed(stack.url) as notices:
            accepted = {(await client.add(f"fits {number}"))["commandId"] for number in range(LIMIT)}
            (error,) = (await client.execute(ADD, name="one too many"))["errors"]
            assert error["extensions"]["code"] == "UNAVAILABLE"
            assert error["message"] == "too many commands are unsettled: try again later"
            assert await client.code(ADD, name="another one too many") == "UNAVAILABLE"
            stack["writer"].start()
            seen = await notices.until_seen(accepted, within=10)
            assert len(seen) == LIMIT

            async def accepts() -> bool:
                return "errors" not in await client.execute(ADD, name="accepted again")

            await eventually(accepts, within=5, what="mutations are accepted again")
            assert not any("too many" in name for name in await client.names())
