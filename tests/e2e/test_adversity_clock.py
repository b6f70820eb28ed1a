"""The clock of all processes is set back and forth by an hour: nothing hangs, nothing is overdue for ever.

The delay is measured by what does not jump, so a command takes effect after it, or up to it earlier where the clock was
set forth; never much later. What was lost on the way is found all the same.
"""

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.altered import program
from tests.e2e.clients import ADD, UPDATE, Client, subscribed
from tests.support.probes import until
from tests.support.processes import START, Stack

HOUR = 3600
DELAY = 1.0
# Seconds after the delay in which what was not lost takes effect, and in which what was lost is found and sent again.
LATE = 1.0
REPAIRED = 10.0
# What a writer says once it is.
SUBSCRIBED = "ready: commands take effect"

ADD_BY_KEY = """mutation($key: String, $name: String!) {
  addContact(name: $name, commandId: $key) { commandId takesEffectInMs } }"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        stack.broker(), stack.database(), stack.reader(), stack.writer(), stack.gateway()
        for name, command in (("database", "rundatabase"), ("writer", "runwriter"), ("gateway", "rungateway")):
            stack[name].command = program("clock", command)
        yield stack.start()


def set_clock(stack: Stack, seconds: float) -> None:
    """Sets the clock of all processes so many seconds ahead of the real one."""
    new = stack.var / "clock.new"
    new.write_text(str(seconds))
    new.rename(stack.var / "clock")


def replace_writer(stack: Stack, name: str) -> None:
    """Another writer takes over; returns once that is subscribed.

    What is sent earlier is lost with it, its pauses grow while it starts, and then it is lost once more.
    """
    writer = stack["writer"]
    writer.kill()
    writer.command = program(name, "runwriter")
    lives = writer.log().count(SUBSCRIBED) + 1
    writer.start()
    until(
        lambda: writer.log().count(SUBSCRIBED) == lives, within=START, what="the writer is subscribed", show=writer.log
    )


@pytest.fixture(autouse=True)
def right_clock(stack: Stack) -> Iterator[None]:
    """Each test begins and ends with the right clock."""
    set_clock(stack, 0)
    yield
    set_clock(stack, 0)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_what_waits_when_the_clock_is_set_takes_effect_in_time(stack: Stack, client: Client, jump: int) -> None:
    async with subscribed(stack.url) as notices:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        waiting = [await client.add(f"accepted before {number}") for number in range(10)]
        set_clock(stack, jump)
        follows = (await client.data(UPDATE, id=waiting[0]["contactId"], name="accepted after"))["updateContact"]
        after = [await client.add(f"accepted after {number}") for number in range(10)]
        assert all(0 <= each["takesEffectInMs"] <= DELAY * 1000 for each in (*waiting, *after))
        accepted = {each["commandId"] for each in (*waiting, *after, follows)}
        seen = await notices.until_seen(accepted, within=DELAY + LATE)
        print(f"all took effect after {loop.time() - sent:.2f} s")
        assert len([notice for notice in seen if notice["commandId"] in accepted]) == len(accepted)
        # And then all goes on by the new time.
        later = await client.add("accepted later")
        started = loop.time()
        await notices.until_seen({later["commandId"]}, within=DELAY + LATE)
        assert loop.time() - started >= DELAY - 0.1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_an_answer_that_is_repeated_tells_no_wait_longer_than_the_delay(
    stack: Stack, client: Client, jump: int
) -> None:
    key = f"repeated-{jump}"
    async with subscribed(stack.url) as notices:
        await client.data(ADD_BY_KEY, key=key, name="repeated")
        set_clock(stack, jump)
        again = (await client.data(ADD_BY_KEY, key=key, name="repeated"))["addContact"]
        assert 0 <= again["takesEffectInMs"] <= DELAY * 1000
        await notices.until_seen({key}, within=DELAY + LATE)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_what_was_lost_on_the_way_is_found_though_the_clock_was_set(
    stack: Stack, client: Client, jump: int
) -> None:
    replace_writer(stack, "forgetful_writer")
    try:
        async with subscribed(stack.url) as notices:
            # Once this is found, all that is sent for the writer's hello was sent: what follows is lost for good.
            first = await client.add("lost first")
            await notices.until_seen({first["commandId"]}, within=DELAY + REPAIRED)
            lost = [(await client.data(ADD, name=f"lost {number}"))["addContact"] for number in range(3)]
            set_clock(stack, jump)
            lost += [(await client.data(ADD, name=f"lost {number}"))["addContact"] for number in range(3, 6)]
            started = asyncio.get_running_loop().time()
            await notices.until_seen({each["commandId"] for each in lost}, within=DELAY + REPAIRED)
            took = asyncio.get_running_loop().time() - started
            print(f"found and applied after {took:.2f} s")
            assert took > DELAY + 0.1
    finally:
        replace_writer(stack, "clock")
