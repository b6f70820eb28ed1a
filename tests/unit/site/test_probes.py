"""/healthz and /readyz: what they say of each part, and with which status."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connections

from cqrs.journal import rows
from cqrs.journal.errors import JournalUnavailable
from cqrs.query.errors import ReaderUnavailable
from cqrssite import readiness
from cqrssite.readiness import Probes
from cqrssite.wiring import GatewayNotOpen, current
from tests.support.journals import open_journal, uses_the_journal

PARTS = ("journal", "broker", "reader", "database", "notices", "history")


class FakeGateway:
    """A gateway whose parts are as told."""

    def __init__(self) -> None:
        self.read_error: Exception | None = None
        self.journal_error: Exception | None = None
        self.reads = 0
        self.link = SimpleNamespace(connected=True)
        self.feed = SimpleNamespace(state="live")
        self.history_guard = SimpleNamespace(lost="")
        self.writes = 0
        self.disk = asyncio.Event()
        self.disk.set()
        self.journal = SimpleNamespace(check_writable=self._check_writable)
        self.reader_healthy = True
        self.reader = SimpleNamespace(get=self._get, is_healthy=self._is_healthy, address="reader:9998")
        self.others: dict[str, Any] = {}

    async def _check_writable(self) -> None:
        self.writes += 1
        await self.disk.wait()
        if self.journal_error:
            raise self.journal_error

    async def _is_healthy(self) -> bool:
        return self.reader_healthy

    async def _get(self, _aggregate: str, _aggregate_id: str, *, timeout: float) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.read_error:
            raise self.read_error


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


async def get(gateway: Any, path: str, *, method: str = "GET") -> tuple[int, dict[str, Any]]:
    return await ask(Probes(gateway), path, method=method)


async def ask(probes: Probes, path: str, *, method: str = "GET") -> tuple[int, dict[str, Any]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("a probe reads no body")

    await probes({"type": "http", "method": method, "path": path}, receive, send)
    start, body = sent
    return start["status"], json.loads(body["body"])


async def test_a_process_lives_whatever_is_away() -> None:
    assert await get(current, "/healthz") == (200, {"status": "ok"})


async def test_all_well_is_ready_and_names_every_part(gateway: FakeGateway) -> None:
    status, said = await get(lambda: gateway, "/readyz")
    assert status == 200
    assert said == {"status": "ready", **{part: {"ok": True} for part in PARTS}}


async def test_a_gateway_that_is_not_open_is_unavailable() -> None:
    with pytest.raises(GatewayNotOpen):
        current()
    status, said = await get(current, "/readyz")
    assert (status, said["status"]) == (503, "unavailable")


async def test_without_the_broker_it_serves_degraded(gateway: FakeGateway) -> None:
    gateway.link.connected = False
    status, said = await get(lambda: gateway, "/readyz")
    assert (status, said["status"], said["broker"]["ok"]) == (200, "degraded", False)
    assert "accepted" in said["broker"]["why"]


async def test_a_read_side_that_knows_only_the_contract_is_degraded(gateway: FakeGateway) -> None:
    gateway.feed.state = "missing"
    status, said = await get(lambda: gateway, "/readyz")
    assert (status, said["status"], said["notices"]["ok"]) == (200, "degraded", False)
    assert "only the contract" in said["notices"]["why"]


async def test_before_another_database_than_the_one_followed_it_serves_degraded_and_says_what_to_do(
    gateway: FakeGateway,
) -> None:
    gateway.history_guard.lost = "it was restored; run manage.py replaycommands"
    status, said = await get(lambda: gateway, "/readyz")
    assert (status, said["status"]) == (200, "degraded")
    assert said["history"] == {"ok": False, "why": gateway.history_guard.lost}


async def test_in_a_whole_ring_the_writer_is_a_part(gateway: FakeGateway) -> None:
    gateway.others["writer"] = lambda: "waits for the database"
    status, said = await get(lambda: gateway, "/readyz")
    assert (status, said["status"]) == (200, "degraded")
    assert said["writer"] == {"ok": False, "why": "waits for the database"}
    gateway.others["writer"] = lambda: ""
    assert (await get(lambda: gateway, "/readyz"))[1]["status"] == "ready"


async def test_a_journal_that_fails_is_unavailable_and_says_why(gateway: FakeGateway) -> None:
    gateway.journal_error = JournalUnavailable("the disk is full")
    status, said = await get(lambda: gateway, "/readyz")
    assert (status, said["status"]) == (503, "unavailable")
    assert said["journal"] == {"ok": False, "why": "the disk is full"}


async def test_the_journal_is_written_once_a_second_at_most_however_often_it_is_probed(gateway: FakeGateway) -> None:
    probes = Probes(lambda: gateway)  # type: ignore[arg-type, return-value]
    for _ in range(20):
        assert (await ask(probes, "/readyz"))[0] == 200
    assert gateway.writes == 1
    probes = Probes(lambda: gateway, write_every=0)  # type: ignore[arg-type, return-value]
    for _ in range(2):
        await ask(probes, "/readyz")
    assert gateway.writes == 3


async def test_a_journal_whose_disk_hangs_is_unavailable_and_not_written_again_meanwhile(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_WITHIN", 0.01)
    gateway.disk.clear()
    probes = Probes(lambda: gateway, write_every=0)  # type: ignore[arg-type, return-value]
    for _ in range(3):
        status, said = await ask(probes, "/readyz")
        assert (status, said["journal"]) == (503, {"ok": False, "why": "is not written within 0.01 s"})
    assert gateway.writes == 1
    gateway.disk.set()
    await asyncio.sleep(0)
    assert (await ask(probes, "/readyz"))[0] == 200


def full_disk(monkeypatch: pytest.MonkeyPatch, full: list[bool]) -> None:
    """Every transaction of the journal fails as it is committed while `full` holds something."""
    real = rows.writing

    @contextlib.contextmanager
    def writing() -> Iterator[Any]:
        with real() as cursor:
            yield cursor
            if full:
                raise OperationalError("database or disk is full")

    monkeypatch.setattr(rows, "writing", writing)


@uses_the_journal
async def test_a_full_disk_makes_the_gateway_unavailable_until_there_is_room(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[bool] = []
    full_disk(monkeypatch, full)
    async with open_journal() as journal:
        gateway.journal = journal  # type: ignore[assignment]
        probes = Probes(lambda: gateway, write_every=0)  # type: ignore[arg-type, return-value]
        assert (await ask(probes, "/readyz"))[0] == 200
        full.append(True)
        status, said = await ask(probes, "/readyz")
        assert (status, said["status"], said["journal"]["ok"]) == (503, "unavailable", False)
        assert "disk is full" in said["journal"]["why"]
        full.clear()
        assert (await ask(probes, "/readyz"))[0] == 200


@uses_the_journal
async def test_a_journal_that_can_be_read_and_not_written_is_found_out() -> None:
    def forbid_writing() -> None:
        with connections[rows.database()].cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")

    async with open_journal() as journal:
        await journal.check_writable()
        await journal.write(forbid_writing)
        await journal.find("nobody")
        with pytest.raises(JournalUnavailable, match="readonly"):
            await journal.check_writable()
        # The failed connection is replaced, and with it what it forbade.
        await journal.check_writable()


@pytest.mark.parametrize(("reader_healthy", "well"), [(True, {"reader"}), (False, set())])
async def test_when_reads_fail_the_reader_is_told_from_the_database(
    gateway: FakeGateway, reader_healthy: bool, well: set[str]
) -> None:
    gateway.read_error = ReaderUnavailable("UNAVAILABLE: no database")
    gateway.reader_healthy = reader_healthy
    status, said = await get(lambda: gateway, "/readyz")
    assert (status, said["status"]) == (503, "unavailable")
    assert {part for part in ("reader", "database") if said[part]["ok"]} == well
    assert said["database"]["why"]


async def test_probes_at_once_share_one_check(gateway: FakeGateway) -> None:
    probes = Probes(lambda: gateway)  # type: ignore[arg-type, return-value]
    answers = await asyncio.gather(*(ask(probes, "/readyz") for _ in range(50)))
    assert {status for status, _ in answers} == {200}
    assert gateway.reads == 1
    await ask(probes, "/readyz")
    assert gateway.reads == 2


async def test_only_get_and_head_are_answered(gateway: FakeGateway) -> None:
    assert (await get(lambda: gateway, "/readyz", method="HEAD"))[0] == 200
    assert (await get(lambda: gateway, "/readyz", method="POST"))[0] == 405
