"""Bounds with one timer: what they end, and what they leave alone."""

import asyncio

import pytest

from cqrssite.serving.deadlines import Deadlines


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_takes_too_long_is_ended() -> None:
    deadlines = Deadlines(0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError), deadlines.limit():
            await forever()
    # The task goes on as if nothing had been.
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    await asyncio.sleep(0)


async def test_each_is_ended_in_its_time() -> None:
    deadlines = Deadlines(0.1)
    loop = asyncio.get_running_loop()

    async def bounded() -> float:
        began = loop.time()
        with pytest.raises(TimeoutError), deadlines.limit():
            await forever()
        return loop.time() - began

    tasks = []
    for _ in range(3):
        tasks.append(asyncio.create_task(bounded()))
        await asyncio.sleep(0.03)
    for seconds in await asyncio.gather(*tasks):
        assert 0.09 < seconds < 1


async def test_what_ends_in_time_returns_and_leaves_nothing_behind() -> None:
    deadlines = Deadlines(5)
    with deadlines.limit():
        await asyncio.sleep(0)
    assert not deadlines._running


async def test_errors_pass() -> None:
    deadlines = Deadlines(5)
    with pytest.raises(ValueError, match="mine"), deadlines.limit():
        raise ValueError("mine")
    assert not deadlines._running


async def test_who_is_cancelled_by_another_stays_cancelled() -> None:
    deadlines = Deadlines(0.02)

    async def bounded() -> None:
        with deadlines.limit():
            await forever()

    task = asyncio.create_task(bounded())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not deadlines._running


def test_one_event_loop_may_follow_another() -> None:
    deadlines = Deadlines(0.01)

    async def bounded() -> None:
        with pytest.raises(TimeoutError), deadlines.limit():
            await forever()

    async def brief() -> None:
        with deadlines.limit():
            await asyncio.sleep(0)

    # The first one ends while its timer is set.
    asyncio.run(brief())
    asyncio.run(bounded())
