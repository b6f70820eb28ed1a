"""The feed, over a reader in memory."""

import asyncio
import contextlib
import itertools
import logging
import random

import pytest

from cqrs.query import feed as feeds
from cqrs.query.errors import (
    ExtensionMissing,
    PositionInvalid,
    PositionTooOld,
    PositionUnknown,
    ReadError,
    SubscriberTooSlow,
)
from cqrs.query.feed import NoticeFeed
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from tests.support.fake_reader import FakeReader, FakeStore


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def reader(store):
    return FakeReader(store)


@contextlib.asynccontextmanager
async def running(feed, state="live"):
    """The feed runs within the context, which begins when it has reached the state."""
    task = asyncio.create_task(feed.run())
    try:
        await reaches(feed, state)
        yield feed
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def reaches(feed, state):
    await until(lambda: feed.state == state)


async def until(condition):
    """Waits until a condition holds that other tasks of this loop bring about; fails after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def take(subscription, count):
    """The numbers of the next notices."""
    async with asyncio.timeout(10):
        return [(await anext(subscription)).number for _ in range(count)]


async def fails(subscription, error):
    async with asyncio.timeout(10):
        with pytest.raises(error) as raised:
            await anext(subscription)
    return raised.value


async def test_a_subscriber_gets_what_is_committed_from_now_on(store, reader):
    store.commit(3)
    async with running(NoticeFeed(reader)) as feed:
        subscription = feed.subscribe()
        store.commit(2)
        assert await take(subscription, 2) == [4, 5]


async def test_now_is_when_it_is_subscribed_not_when_it_is_read(store, reader):
    async with running(NoticeFeed(reader)) as feed:
        subscription = feed.subscribe()
        store.commit()
        await until(lambda: feed.head == store.head)
        assert await take(subscription, 1) == [1]


async def test_who_subscribes_before_the_reader_is_there_gets_what_comes_after(store, reader):
    reader.away = True
    store.commit(3)
    feed = NoticeFeed(reader)
    subscription = feed.subscribe()
    waiting = asyncio.create_task(take(subscription, 2))
    async with running(feed, "connecting"):
        reader.away = False
        await reaches(feed, "live")
        store.commit(2)
        assert await waiting == [4, 5]


async def test_missed_notices_come_from_memory(store, reader):
    async with running(NoticeFeed(reader)) as feed:
        seen = store.commit(10)[3].position
        await until(lambda: feed.head == store.head)
        assert await take(feed.subscribe(seen), 6) == [5, 6, 7, 8, 9, 10]
        assert reader.pages == []


async def test_older_notices_are_read_in_pages_and_live_ones_follow(store, reader):
    store.commit(1200)
    async with running(NoticeFeed(reader)) as feed:
        store.commit(5)
        subscription = feed.subscribe("0")
        assert await take(subscription, 1205) == list(range(1, 1206))
        store.commit(2)
        assert await take(subscription, 2) == [1206, 1207]
        assert [limit for _, limit in reader.pages] == [500, 500, 500]


async def test_a_thousand_that_missed_the_same_read_it_once(store, reader):
    seen = store.commit(10)[-1].position
    store.commit(700)
    async with running(NoticeFeed(reader)) as feed:
        numbers = await asyncio.gather(*(take(feed.subscribe(seen), 700) for _ in range(1000)))
        assert all(each == list(range(11, 711)) for each in numbers)
        assert len(reader.pages) == 2


async def test_who_knows_more_than_the_feed_has_heard_waits_for_it(store, reader):
    """It was served by another process, whose feed was ahead of this one."""
    async with running(NoticeFeed(reader)) as feed:
        reader.store = FakeStore()  # what the feed watches stays behind
        ahead = reader.store
        ahead.commit(3)
        subscription = feed.subscribe("3.first")
        waiting = asyncio.create_task(take(subscription, 1))
        await until(lambda: reader.pages)
        store.commit(3)
        ahead.commit()
        store.commit()
        assert await waiting == [4]


async def test_a_position_that_cannot_be_read_on_from_is_refused(store, reader):
    store.commit(10)
    store.pruned = 5
    async with running(NoticeFeed(reader)) as feed:
        await fails(feed.subscribe("4.first"), PositionTooOld)
        await fails(feed.subscribe("7.other"), PositionUnknown)
        await fails(feed.subscribe("nonsense"), PositionInvalid)


async def test_the_feed_resumes_after_a_cut_without_gap_or_repeat(store, reader):
    heard = []
    feed = NoticeFeed(reader, on_notices=[lambda notices: heard.extend(notice.number for notice in notices)])
    async with running(feed):
        subscription = feed.subscribe()
        store.commit(2)
        await until(lambda: heard == [1, 2])
        reader.cut()
        store.commit(3)
        await until(lambda: heard == [1, 2, 3, 4, 5])
        store.commit()
        assert await take(subscription, 6) == [1, 2, 3, 4, 5, 6]


async def test_notices_that_come_twice_are_told_once(store, reader):
    heard = []
    feed = NoticeFeed(reader, on_notices=[lambda notices: heard.extend(notice.number for notice in notices)])
    async with running(feed):
        subscription = feed.subscribe()
        committed = store.commit(2)
        assert await take(subscription, 2) == [1, 2]
        store._tell(NoticeBatch(notice=committed, head=store.head, database="first"))
        store.commit()
        assert await take(subscription, 1) == [3]
        assert heard == [1, 2, 3]


async def test_a_gap_is_read_again(store, reader, caplog):
    heard = []
    feed = NoticeFeed(reader, on_notices=[lambda notices: heard.extend(notice.number for notice in notices)])
    async with running(feed):
        store.commit(2)
        await until(lambda: len(heard) == 2)
        store.notices += [
            Notice(number=number, position=f"{number}.first", command_id=f"command-{number}") for number in (3, 4)
        ]
        store._tell(NoticeBatch(notice=store.notices[3:], head=store.head, database="first"))
        await until(lambda: heard == [1, 2, 3, 4])
        assert "notice 4 came after notice 2" in caplog.text


async def test_callbacks_hear_of_a_notice_before_subscribers_do(store, reader):
    told = []
    async with running(NoticeFeed(reader, on_notices=[told.extend])) as feed:
        subscription = feed.subscribe()
        store.commit()
        notice = await anext(subscription)
        assert told == [notice]


async def test_a_defect_in_a_callback_ends_the_feed_loudly(store, reader):
    def broken(notices):
        raise KeyError("defect")

    task = asyncio.create_task(NoticeFeed(reader, on_notices=[broken]).run())
    await until(lambda: store.watchers)
    store.commit()
    async with asyncio.timeout(10):
        with pytest.raises(KeyError):
            await task


async def test_a_subscriber_that_is_up_to_date_and_falls_behind_memory_is_too_slow(store, reader):
    async with running(NoticeFeed(reader, keep=10)) as feed:
        subscription = feed.subscribe()
        store.commit()
        assert await take(subscription, 1) == [1]
        store.commit(20)
        await until(lambda: feed.head == store.head)
        await fails(subscription, SubscriberTooSlow)
        assert await take(feed.subscribe("1.first"), 20) == list(range(2, 22))


async def test_a_subscriber_that_catches_up_slowly_is_not_too_slow(store, reader):
    store.commit(2000)
    async with running(NoticeFeed(reader, keep=10)) as feed:
        subscription = feed.subscribe("0")
        assert await take(subscription, 600) == list(range(1, 601))
        store.commit(50)
        await until(lambda: feed.head == store.head)
        assert await take(subscription, 1450) == list(range(601, 2051))


async def test_a_lost_history_is_said_loudly_and_ends_subscriptions(store, reader, caplog):
    lost, states = [], []
    feed = NoticeFeed(reader, on_history_lost=lost.append, on_state=states.append)
    async with running(feed):
        live, behind = feed.subscribe(), feed.subscribe("0")
        store.commit(3)
        assert await take(live, 3) == [1, 2, 3]
        assert await take(behind, 1) == [1]
        store.replace("restored", keep=2)
        await until(lambda: states == ["live", "connecting", "live"])
        assert lost == ["another history"]
        await fails(live, PositionUnknown)
        await fails(behind, PositionUnknown)
        assert [record.levelname for record in caplog.records if "cannot be continued" in record.message] == ["ERROR"]
        fresh = feed.subscribe()
        store.commit()
        assert await take(fresh, 1) == [3]


async def test_a_memory_store_that_begins_anew_is_no_error(reader, caplog):
    reader.store = store = FakeStore(memory=True)
    lost = []
    async with running(NoticeFeed(reader, on_history_lost=lost.append)) as feed:
        store.commit(3)
        await until(lambda: feed.head == store.head)
        caplog.set_level(logging.INFO)
        store.replace("second")
        await until(lambda: lost and feed.state == "live")
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_another_database_is_recognised_even_if_the_position_fits(store, reader):
    """Position "0" is in every history."""
    lost = []
    async with running(NoticeFeed(reader, on_history_lost=lost.append)) as feed:
        subscription = feed.subscribe()
        store.replace("second")
        store.commit(2)
        await until(lambda: lost and feed.state == "live")
        assert lost == ["the database is second now, it was first"]
        await fails(subscription, PositionUnknown)


async def test_a_feed_that_was_away_too_long_says_so(store, reader):
    async with running(NoticeFeed(reader)) as feed:
        subscription = feed.subscribe()
        store.commit(3)
        assert await take(subscription, 3) == [1, 2, 3]
        reader.cut()
        store.commit(5)
        store.pruned = 6
        await fails(subscription, PositionTooOld)
        await reaches(feed, "live")


async def test_a_peer_that_knows_only_the_contract_is_said_once_and_asked_again(store, reader, caplog, monkeypatch):
    monkeypatch.setattr(feeds, "ASK_AGAIN", 0.001)
    reader.extended = False
    states = []
    feed = NoticeFeed(reader, on_state=states.append)
    early = feed.subscribe()
    async with running(feed, "missing"):
        await fails(early, ExtensionMissing)
        await fails(feed.subscribe(), ExtensionMissing)
        await fails(feed.subscribe("0"), ExtensionMissing)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert caplog.text.count("no notices") == 1
        reader.extended = True
        await reaches(feed, "live")
        store.commit()
        assert await take(feed.subscribe("0"), 1) == [1]
        assert states == ["missing", "live"]


async def test_a_subscription_outlives_an_outage(store, reader):
    store.commit(3)
    async with running(NoticeFeed(reader)) as feed:
        live = feed.subscribe()
        reader.away = True
        reader.cut()
        await reaches(feed, "connecting")
        catching_up = asyncio.create_task(take(feed.subscribe("0"), 5))
        for _ in range(10):
            await asyncio.sleep(0)
        store.commit(2)
        reader.away = False
        assert await take(live, 2) == [4, 5]
        assert await catching_up == [1, 2, 3, 4, 5]


async def test_a_subscriber_that_leaves_disturbs_no_other(store, reader):
    async with running(NoticeFeed(reader)) as feed:
        stays = asyncio.create_task(take(feed.subscribe(), 1))
        leaves = asyncio.create_task(take(feed.subscribe(), 1))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.wait([leaves])
        store.commit()
        assert await stays == [1]


async def test_a_reader_that_refuses_even_to_begin_is_tried_again_with_pauses(store, reader, monkeypatch):
    """It must neither spin nor count as a lost history."""
    asked = 0

    async def watch(after):
        nonlocal asked
        asked += 1
        raise PositionInvalid("nonsense")
        yield

    monkeypatch.setattr(reader, "watch_notices", watch)
    lost = []
    async with running(NoticeFeed(reader, on_history_lost=lost.append), "connecting"):
        await until(lambda: asked >= 2)
        assert asked < 10
        assert lost == []


@pytest.mark.parametrize("seed", range(30))
async def test_there_is_no_gap_and_no_repeat_whenever_one_subscribes(seed):
    """Notices stream in, connections break, memory is short; subscribers come with any position and at any pace."""
    chance = random.Random(seed)
    store = FakeStore()
    reader = FakeReader(store)
    heard: list[int] = []
    store.commit(chance.randrange(30))
    most = 1500

    async def commit():
        while len(store.notices) < most:
            store.commit(chance.randint(1, 40))
            if chance.random() < 0.05:
                reader.cut()
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

    async def subscribe(feed):
        for _ in range(chance.randrange(200)):
            await asyncio.sleep(0)
        number = chance.choice([0, chance.randrange(len(store.notices) + 1), len(store.notices)])
        position = f"{number}.first" if number else "0"
        seen = []
        while number + len(seen) < most:
            try:
                async with contextlib.aclosing(feed.subscribe(position)) as subscription:
                    async for notice in subscription:
                        seen.append(notice.number)
                        position = notice.position
                        if notice.number >= most:
                            break
                        if chance.random() < 0.1:
                            await asyncio.sleep(0)
            except SubscriberTooSlow:
                continue
        assert seen[: most - number] == list(range(number + 1, most + 1))

    feed = NoticeFeed(
        reader,
        keep=chance.choice([50, 300, 5000]),
        on_notices=[lambda notices: heard.extend(notice.number for notice in notices)],
    )
    async with running(feed), asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(commit())
        for _ in range(10):
            tasks.create_task(subscribe(feed))
    assert all(after == before + 1 for before, after in itertools.pairwise(heard))


def test_every_refusal_is_a_read_error():
    assert issubclass(PositionTooOld, ReadError)
    assert issubclass(SubscriberTooSlow, ReadError)
