"""One trial: start everything, send load, break things by schedule, heal, and judge the history."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos import schedule
from chaos.checker import check
from chaos.final_reads import FinalReads
from chaos.history import Event, History, Notice, Watcher
from chaos.injector import Injector
from chaos.load import Load
from chaos.overdue import Overdue
from chaos.proxy import MqttLink
from chaos.report import HEALED_AT_MOST, Healing, Report
from chaos.ring import RingSystem
from chaos.subject import Subject
from chaos.system import System
from chaos.watch import Watching

# After so many rounds that did not heal the rest is not waited for.
_MOST_OVERRUNS = 3


@dataclass(frozen=True)
class Plan:
    """The parameters of a trial.

    aggregate: what is sent commands. kills: how often a process is struck. commands: sends on until so many were
    accepted. rate: commands a second.
    keep: a folder that gets databases, logs and the history, kept after the trial.
    heals_within: seconds from the last repair until nothing is overdue, and until all commands are settled at the end.
    ring: each gateway is a whole ring in its process. rounds: other faults than those that the seed gives.
    database_url, programs: see `System`.
    """

    seed: int = 1
    aggregate: str = "contact"
    kills: int = 15
    gateways: int = 2
    broker: str = "amqtt"
    ring: bool = False
    database_url: str = ""
    rate: float = 150.0
    delay: float = 0.3
    commands: int = 0
    keep: Path | None = None
    heals_within: float = HEALED_AT_MOST
    programs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rounds: Sequence[schedule.Round] | None = None


class Trial:
    """Runs a plan once. `history` is there also after a failure.

    progress: gets a line for each thing that happens.
    """

    def __init__(self, plan: Plan, *, progress: Callable[[str], None] = lambda line: None) -> None:
        self.plan = plan
        self.history = History(plan.seed)
        self._progress = progress
        self._started = time.monotonic()
        self._overdue = Overdue(self._clock)
        self._subject = Subject(plan.aggregate)
        self._healings: list[Healing] = []
        self._faults: dict[str, Counter[str]] = defaultdict(Counter)
        self._system: System
        self._load: Load

    async def run(self) -> Report:
        """Raises StartError when a process does not come up, at the start or after a fault."""
        with self._folder() as folder:
            plan = self.plan
            self._system = (RingSystem if plan.ring else System)(
                folder,
                gateways=plan.gateways,
                broker=plan.broker,
                delay=plan.delay,
                database_url=plan.database_url,
                programs=plan.programs,
            )
            async with self._system.running():
                self._log(f"everything is up, in {folder}")
                try:
                    seconds = await self._inject_under_load()
                finally:
                    if plan.keep is not None:
                        self.history.save(plan.keep)
                for name in await self._system.end():
                    self.history.overruns.append(f"{name} did not end within 10 s of SIGTERM")
        self._log("checking")
        return self._report(seconds)

    async def _inject_under_load(self) -> float:
        """Returns how long there was load, in seconds."""
        plan, gateways = self.plan, self._system.gateways
        self._load = Load(
            self.history,
            self._overdue,
            gateways,
            self._subject,
            rate=plan.rate,
            delay=plan.delay,
            clock=self._clock,
            process_of=self._process_of,
            dice=random.Random(plan.seed + 1),
        )
        async with self._watching() as watching:
            began = self._clock()
            loading = asyncio.create_task(self._load.run(), name="load")
            try:
                await self._inject_faults()
                try:
                    await self._load.wait_accepted(plan.commands)
                except TimeoutError:
                    self.history.overruns.append(f"nothing is accepted any more, {plan.commands:,} were to be")
                self._load.stop()
                await loading
            finally:
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
            seconds = self._clock() - began
            self._log("the load has ended; all is to be settled and seen within 10 s")
            await self._settle(watching)
            reader_address = await self._system.show_notices()
            await FinalReads(self.history, self._subject, self._process_of, self._clock).read(gateways, reader_address)
        return seconds

    async def _inject_faults(self) -> None:
        """All rounds of faults, one after the other, each healed before the next."""
        plan = self.plan
        rounds = plan.rounds
        if rounds is None:
            mqtt_links = [name for name, link in self._system.links.items() if isinstance(link, MqttLink)]
            links = [name for name in self._system.links if name not in mqtt_links]
            rounds = list(schedule.rounds(plan.seed, plan.kills, list(self._system.processes), links, mqtt_links))
        injector = Injector(self._system, self._clock, self.history.overruns.append, random.Random(plan.seed + 2))
        self._faults = injector.faults
        struck, in_all = 0, sum(len(one.processes) for one in rounds)
        for one in rounds:
            await asyncio.sleep(one.pause)
            struck += len(one.processes)
            self._log(f"{struck}/{in_all} {one}")
            await self._heal(one, await injector.inject(one))
            if len(self.history.overruns) >= _MOST_OVERRUNS:
                self._log("too much did not heal: no more faults")
                return

    async def _heal(self, one: schedule.Round, repaired: float) -> None:
        """Waits until all commands accepted before now are settled and none is late; records how long that took."""
        now = self._clock()
        targets = [fault.target for fault in (*one.processes, *one.links)]
        # From the repair, but never less than the delay from now: a command just accepted is not due yet.
        ends = max(repaired + self.plan.heals_within, now + self.plan.delay + 1.0)
        seconds = None
        while not self._overdue.all_settled(now):
            if self._clock() > ends:
                seconds = self._clock() - repaired
                late = self._overdue.give_up()
                sentence = (
                    f"not healed {self.plan.heals_within:g} s after {one}: {len(late)} overdue, such as {late[:3]}"
                )
                self._log(sentence)
                self.history.overruns.append(sentence)
                break
            await asyncio.sleep(0.02)
        if seconds is None:
            seconds = max(0.0, self._overdue.last_late - repaired)
        self._healings.append(Healing(str(one), targets, round(now - repaired, 3), round(seconds, 3)))

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[list[Watching]]:
        """Two watchers that begin at each gateway, and two of one contact each, chosen when there are some."""
        names = list(self._system.gateways)
        watching = []
        tasks = []
        for number, first in enumerate(names * 2):
            order = {name: self._system.gateways[name] for name in (first, *names)}
            watcher = Watcher(f"watcher-{number + 1}")
            self.history.watchers.append(watcher)
            watching.append(
                Watching(watcher, order, self._subject, self._on_notice, random.Random(self.plan.seed + 10 + number))
            )
            tasks.append(asyncio.create_task(watching[-1].run(), name=watcher.name))
        tasks.append(asyncio.create_task(self._watch_one_contact(watching), name="watch one contact"))
        try:
            yield watching
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _watch_one_contact(self, watching: list[Watching]) -> None:
        """A watcher of the first contact there is."""
        first = await watching[0].first
        watcher = Watcher("watcher-of-one", contact_id=first.contact_id)
        self.history.watchers.append(watcher)
        one = Watching(
            watcher, self._system.gateways, self._subject, lambda notice: None, random.Random(self.plan.seed)
        )
        await one.run()

    def _on_notice(self, notice: Notice) -> None:
        if notice.kind != "PARKED":
            self._overdue.settle(notice.command_id)
        if notice.version:
            self._load.on_version(notice.contact_id, notice.version)

    async def _settle(self, watching: Sequence[Watching]) -> None:
        """Waits until everything accepted is settled, no more notices come, and all watchers have seen the last."""
        ends = self._clock() + self.plan.heals_within
        # Commands accepted without an answer settle too, and nobody has their ids: all is over when no notice comes.
        quiet = max(1.5, 2 * self.plan.delay)
        last, since = 0, self._clock()
        while self._clock() < ends:
            counts = {len(one.watcher.seen) for one in watching}
            if max(counts) > last:
                last, since = max(counts), self._clock()
            elif len(counts) == 1 and self._overdue.all_settled() and self._clock() - since > quiet:
                return
            await asyncio.sleep(0.05)
        late = self._overdue.give_up()
        places = {one.watcher.name: len(one.watcher.seen) for one in watching}
        self.history.overruns.append(
            f"{self.plan.heals_within:g} s after all was healed {len(late)} commands are not settled,"
            f" such as {late[:3]}; the watchers are at notice {places}"
        )

    def _report(self, seconds: float) -> Report:
        history, plan = self.history, self.plan
        verdicts = Counter(command.verdict for command in history.commands)
        states = Counter(sample.state for sample in {sample.command_id: sample for sample in history.outcomes}.values())
        return Report(
            seed=plan.seed,
            broker="none: each is a whole ring" if plan.ring else plan.broker,
            gateways=plan.gateways,
            seconds=round(seconds, 1),
            faults={target: dict(counts) for target, counts in self._ordered_faults()},
            kills=sum(sum(self._faults[name].values()) for name in self._system.processes),
            commands={
                **{verdict: verdicts[verdict] for verdict in ("accepted", "unknown", "refused")},
                **{state: states[state] for state in ("APPLIED", "REJECTED", "CANCELLED", "DISCARDED")},
            },
            notices=len(history.notices),
            watchers=[
                {"name": watcher.name, "seen": len(watcher.seen), "connections": watcher.connections}
                for watcher in history.watchers
            ],
            samples=len(history.samples),
            reads=len(history.reads),
            beyond_due=_median_and_p99(self._overdue.beyond),
            healings=self._healings,
            violations=check(history),
        )

    def _ordered_faults(self) -> list[tuple[str, Counter[str]]]:
        names = (*self._system.processes, *self._system.links)
        return [(name, self._faults[name]) for name in names if name in self._faults]

    def _process_of(self, gateway: str) -> str:
        return f"{gateway}#{self._system.processes[gateway].life}"

    def _clock(self) -> float:
        return time.monotonic() - self._started

    def _log(self, event_text: str) -> None:
        event = Event(round(self._clock(), 3), event_text)
        self.history.events.append(event)
        self._progress(f"{event.at:8.2f} {event_text}")

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        if self.plan.keep is not None:
            self.plan.keep.mkdir(parents=True, exist_ok=True)
            yield self.plan.keep.absolute()
            return
        with tempfile.TemporaryDirectory(prefix="contacts-chaos-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def _median_and_p99(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds) or [0.0]
    return round(ordered[len(ordered) // 2], 4), round(ordered[len(ordered) * 99 // 100], 4)
