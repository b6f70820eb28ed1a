"""A check that nothing can fail proves nothing: each of these bugs, planted in the real service, is caught."""

import asyncio
import sys
from collections.abc import Callable, Sequence

import pytest

from chaos.schedule import Fault, Round
from chaos.trial import Plan, Trial
from contacts_write.go_contract import GoTopics
from cqrs.writer.apply_client import Applied
from cqrs.writer.delay_queue import DelayQueue, ScheduledCommand
from cqrs.writer.writer import Writer
from protocol import topics
from protocol.cqrs_write_pb2 import Malformed
from tests.support import envelopes


def garble(*links: str) -> Round:
    return Round(0.2, (), tuple(Fault("garble", link, 2.0) for link in links))


def kill(process: str) -> Round:
    return Round(0.3, (Fault("kill", process, 0.0),), ())


PLANTED: list[tuple[str, str, Sequence[Round], set[str]]] = [
    ("database", "no_dedupe", [garble("gateway-1-broker")], {"twice"}),
    ("database", "depends_on_ignored", [garble("gateway-1-broker", "writer-broker")], {"order", "version"}),
    ("database", "notice_outside_transaction", [kill("database")] * 3, {"version"}),
    ("gateway", "journal_after_answer", [kill("gateway-1")] * 2, {"lost"}),
    ("gateway", "sweep_settles_without_asking", [garble("gateway-1-broker", "writer-broker")] * 2, {"lost", "outcome"}),
]


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "bug", "rounds", "rules"), PLANTED, ids=[bug for _, bug, _, _ in PLANTED])
def test_it_is_caught(kind: str, bug: str, rounds: Sequence[Round], rules: set[str]) -> None:
    plan = Plan(
        gateways=1,
        rate=150,
        delay=0.2,
        heals_within=3.0,
        rounds=rounds,
        programs={kind: (sys.executable, "-m", f"tests.chaos.planted.{bug}")},
    )
    report = asyncio.run(Trial(plan, progress=print).run())
    print(report.as_text())
    assert report.commands["accepted"] > 50
    assert rules & {violation.rule for violation in report.violations}


class Broker:
    """The writer's link: the test hands it messages."""

    def __init__(self, on_message: Callable[[str, bytes], None], **_options: object) -> None:
        self.deliver = on_message

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def publish(self, topic: str, payload: bytes) -> None:
        pass


class SlowDatabase:
    """Defers the first command, and tells when it was asked; takes everything after that."""

    waiting = False
    keeps_outcomes = True

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.applied: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> "SlowDatabase":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def apply(self, batch: Sequence[ScheduledCommand]) -> Applied:
        if batch and not self.asked.is_set():
            self.asked.set()
            await self.answer.wait()
            return Applied(list(batch), [])
        for scheduled in batch:
            self.applied.put_nowait(scheduled.command_id)
        return Applied([], [])

    async def record(self, records: Sequence[Malformed]) -> bool:
        return True


async def is_applied_without_a_third_sending() -> bool:
    """Of a command that is sent again while it is applied by the database, which then defers it."""
    database = SlowDatabase()
    brokers: list[Broker] = []

    def connect(**options: Callable[[str, bytes], None]) -> Broker:
        brokers.append(Broker(**options))
        return brokers[0]

    stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writing = asyncio.create_task(Writer(database, connect, GoTopics(), delay=0.01, limit=100).run(stop))
    message = envelopes.batch(envelopes.update("someone", command_id="again"))
    brokers[0].deliver(topics.BATCH, message)
    async with asyncio.timeout(10):
        await database.asked.wait()
        brokers[0].deliver(topics.BATCH, message)
        database.answer.set()
        try:
            async with asyncio.timeout(0.5):
                return await database.applied.get() == "again"
        except TimeoutError:
            return False
        finally:
            stop.set_result(None)
            await writing


def forget_after_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch's ids are forgotten once it is applied, and until then what is sent again is taken for known."""
    take, conclude = DelayQueue.take, Writer._conclude

    def take_and_remember(queue: DelayQueue) -> list[ScheduledCommand]:
        taken = take(queue)
        for scheduled in taken:
            queue._of(scheduled)[scheduled.command_id] = scheduled
        return taken

    def conclude_and_forget(writer: Writer, batch: Sequence[ScheduledCommand], applied: Applied) -> None:
        conclude(writer, batch, applied)
        for scheduled in batch:
            writer._queue._of(scheduled).pop(scheduled.command_id, None)

    monkeypatch.setattr(DelayQueue, "take", take_and_remember)
    monkeypatch.setattr(Writer, "_conclude", conclude_and_forget)


@pytest.mark.parametrize(
    ("plant", "right"), [(lambda _: None, True), (forget_after_apply, False)], ids=["without", "with"]
)
async def test_a_batch_forgotten_after_it_is_applied_instead_of_before_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert await is_applied_without_a_third_sending() is right
