"""The gateway's parts, joined: what one tells the others, and what happens when one fails."""

import asyncio
import signal

import pytest

from cqrs import conf
from cqrs.transport.codec import NoContract
from cqrssite import wiring
from cqrssite.wiring import Gateway, GatewayNotOpen


class Watched:
    """A gateway that is not opened, and how often it reported a crash."""

    def __init__(self) -> None:
        self.crashes = 0
        self.gateway = Gateway(conf.current(), codec=NoContract(), on_crash=self._count)

    def _count(self) -> None:
        self.crashes += 1


async def fail() -> None:
    raise ZeroDivisionError("a defect")


async def end() -> None:
    """Ends, which no background task may."""


async def go_on() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("work", [fail, end])
async def test_a_background_task_that_ends_ends_the_process(work: object, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    watched.gateway._start("sweep", work())  # type: ignore[operator]
    await asyncio.wait(watched.gateway._tasks, timeout=5)
    await asyncio.sleep(0)
    assert watched.crashes == 1
    assert "gateway sweep ended, and so does this process" in caplog.text


async def test_a_background_task_that_is_cancelled_at_closing_is_no_crash() -> None:
    watched = Watched()
    watched.gateway._start("sweep", go_on())
    watched.gateway._start("link", go_on())
    await watched.gateway._end_tasks()
    assert all(task.cancelled() for task in watched.gateway._tasks)
    assert watched.crashes == 0


def test_the_process_is_ended_so_that_it_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(wiring.os, "kill", lambda _pid, number: sent.append(number))
    wiring.end_process()
    assert sent == [signal.SIGTERM]


def test_no_gateway_is_current_before_one_is_opened() -> None:
    with pytest.raises(GatewayNotOpen, match="starting or stopping"):
        wiring.current()


async def test_commands_are_handed_over_while_the_read_side_has_no_notices() -> None:
    gateway = Watched().gateway
    gateway.feed._become("missing")
    assert not gateway.delivery().repeats
    assert not gateway.delivery().tells_outcomes
    # Away and back with the same abilities: what it cannot tell is not known until it is heard.
    gateway.feed._become("connecting")
    assert not gateway.delivery().tells_outcomes
    gateway.feed._become("live")
    assert gateway.delivery().repeats


def test_no_two_gateways_own_the_same_commands() -> None:
    assert Watched().gateway.owner != Watched().gateway.owner
