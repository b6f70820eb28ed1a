"""The gateway's parts, joined: what one tells the others, and what happens when one fails."""

import asyncio
import signal
from functools import partial

import pytest

from cqrs import background, conf
from cqrs.background import Background
from cqrs.gateway import Gateway
from cqrs.query.client import ReadClient
from cqrs.transport.codec import NoContract
from cqrs.transport.mqtt import MqttLink
from cqrssite import wiring
from cqrssite.wiring import GatewayNotOpen


def make_gateway() -> Gateway:
    """A gateway that is not opened."""
    connect = partial(MqttLink, "127.0.0.1:1", name="test")
    return Gateway(conf.current(), reader=ReadClient("127.0.0.1:1"), connect=connect, codec=NoContract())


async def fail() -> None:
    raise ZeroDivisionError("a defect")


async def end() -> None:
    """Ends, which no background task may."""


async def go_on() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("work", [fail, end])
async def test_a_background_task_that_ends_ends_the_process(work: object, caplog: pytest.LogCaptureFixture) -> None:
    crashes: list[str] = []
    watched = Background("gateway", lambda: crashes.append("crash"))
    task = watched.start("sweep", work())  # type: ignore[operator]
    await asyncio.wait([task], timeout=5)
    await asyncio.sleep(0)
    assert crashes == ["crash"]
    assert "gateway sweep ended, and so does this process" in caplog.text


async def test_a_background_task_that_is_cancelled_at_closing_is_no_crash() -> None:
    crashes: list[str] = []
    watched = Background("gateway", lambda: crashes.append("crash"))
    watched.start("sweep", go_on())
    watched.start("link", go_on())
    await watched.end()
    assert all(task.cancelled() for task in watched.tasks)
    assert not crashes


def test_the_process_is_ended_so_that_it_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(background.os, "kill", lambda _pid, number: sent.append(number))
    background.end_process()
    assert sent == [signal.SIGTERM]


def test_no_gateway_is_current_before_one_is_opened() -> None:
    with pytest.raises(GatewayNotOpen, match="starting or stopping"):
        wiring.current()


async def test_commands_are_handed_over_while_the_read_side_has_no_notices() -> None:
    gateway = make_gateway()
    gateway.feed._become("missing")
    assert not gateway.delivery().repeats
    assert not gateway.delivery().tells_outcomes
    # Away and back with the same abilities: what it cannot tell is not known until it is heard.
    gateway.feed._become("connecting")
    assert not gateway.delivery().tells_outcomes
    gateway.feed._become("live")
    assert gateway.delivery().repeats


def test_no_two_gateways_own_the_same_commands() -> None:
    assert make_gateway().owner != make_gateway().owner
