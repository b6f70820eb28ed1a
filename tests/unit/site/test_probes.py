"""/healthz and /readyz: what they say of each part, and with which status."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from cqrs.journal.errors import JournalUnavailable
from cqrs.query.errors import ReaderUnavailable
from cqrssite.readiness import Probes
from cqrssite.wiring import GatewayNotOpen, current

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
        self.journal = SimpleNamespace(is_pending=self._is_pending)
        self.reader = SimpleNamespace(get_contact=self._get_contact)

    async def _is_pending(self, _aggregate: str, _aggregate_id: str) -> bool:
        if self.journal_error:
            raise self.journal_error
        return False

    async def _get_contact(self, _contact_id: str, *, timeout: float) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.read_error:
            raise self.read_error


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


async def get(
    gateway: Any, path: str, *, method: str = "GET", reader_healthy: bool = True
) -> tuple[int, dict[str, Any]]:
    async def healthy(_address: str) -> bool:
        return reader_healthy

    return await ask(Probes(gateway, "reader:9998", healthy=healthy), path, method=method)


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


async def test_a_journal_that_fails_is_unavailable_and_says_why(gateway: FakeGateway) -> None:
    gateway.journal_error = JournalUnavailable("the disk is full")
    status, said = await get(lambda: gateway, "/readyz")
    assert (status, said["status"]) == (503, "unavailable")
    assert said["journal"] == {"ok": False, "why": "the disk is full"}


@pytest.mark.parametrize(("reader_healthy", "well"), [(True, {"reader"}), (False, set())])
async def test_when_reads_fail_the_reader_is_told_from_the_database(
    gateway: FakeGateway, reader_healthy: bool, well: set[str]
) -> None:
    gateway.read_error = ReaderUnavailable("UNAVAILABLE: no database")
    status, said = await get(lambda: gateway, "/readyz", reader_healthy=reader_healthy)
    assert (status, said["status"]) == (503, "unavailable")
    assert {part for part in ("reader", "database") if said[part]["ok"]} == well
    assert said["database"]["why"]


async def test_probes_at_once_share_one_check(gateway: FakeGateway) -> None:
    probes = Probes(lambda: gateway, "reader:9998")  # type: ignore[arg-type, return-value]
    answers = await asyncio.gather(*(ask(probes, "/readyz") for _ in range(50)))
    assert {status for status, _ in answers} == {200}
    assert gateway.reads == 1
    await ask(probes, "/readyz")
    assert gateway.reads == 2


async def test_only_get_and_head_are_answered(gateway: FakeGateway) -> None:
    assert (await get(lambda: gateway, "/readyz", method="HEAD"))[0] == 200
    assert (await get(lambda: gateway, "/readyz", method="POST"))[0] == 405
