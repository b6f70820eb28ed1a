"""The report of a trial, for people and for programs."""

import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from chaos.case import Violation
from chaos.history import STATE_OF_KIND, History
from chaos.schedule import MQTT_FAULTS, PROCESS_FAULTS

# The promise of healing, in seconds from the last repair until nothing is overdue. Longer than at most is a
# violation; the median depends on how long this machine takes to start a process, so it is reported and fails nothing.
HEALED_AT_THE_MEDIAN = 2.0
HEALED_AT_MOST = 10.0

# The figures that a reader looks for first, and their rules.
_ASKED_FIRST = {
    "lost": {"lost"},
    "applied twice": {"twice"},
    "out of order": {"order"},
    "notices missing": {"gap", "watcher"},
}

# Violations of one rule that are shown with their history; the rest is counted.
_SHOWN = 3


@dataclass(slots=True)
class Healing:
    """One round of faults, in seconds after the last repair (start, SIGCONT, connection whole).

    up: until the processes struck were up. seconds: until nothing accepted was overdue; 0: nothing ever was.
    """

    faults: str
    targets: list[str]
    up: float
    seconds: float


@dataclass(slots=True)
class Report:
    """All figures; `violations` empty: every promise was kept."""

    seed: int
    broker: str
    gateways: int
    seconds: float
    # Target → fault → how often.
    faults: dict[str, dict[str, int]]
    kills: int
    # accepted, unknown, refused: by what the answers said. The rest: by the notices.
    commands: dict[str, int]
    notices: int
    watchers: list[dict[str, Any]]
    samples: int
    reads: int
    # Seconds from when a command was due until a watcher saw its notice, median and of 99 of 100, faults and all.
    beyond_due: tuple[float, float]
    healings: list[Healing]
    violations: list[Violation] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.violations

    def healing(self, target: str = "") -> dict[str, float]:
        """Median and longest healing, in seconds; of the rounds that struck `target`, if one is given."""
        healings = [healing for healing in self.healings if not target or target in healing.targets]
        up = [healing.up for healing in healings] or [0.0]
        healed = [healing.seconds for healing in healings] or [0.0]
        beyond = [max(0.0, healing.seconds - healing.up) for healing in healings] or [0.0]
        figures = {
            "up_median": statistics.median(up),
            "median": statistics.median(healed),
            "max": max(healed),
            "beyond_up_median": statistics.median(beyond),
            "beyond_up_max": max(beyond),
        }
        return {name: round(seconds, 2) for name, seconds in figures.items()}

    def as_json(self) -> str:
        whole = asdict(self) | {
            "ok": self.ok,
            "violations": [violation._asdict() for violation in self.violations],
            "healing": self.healing(),
            "accepted_per_second": round(self.commands["accepted"] / self.seconds, 1),
        }
        return orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode()

    def as_text(self) -> str:
        kinds = [kind for kind in (*PROCESS_FAULTS, *MQTT_FAULTS) if any(kind in c for c in self.faults.values())]
        width = max(map(len, self.faults), default=0)
        lines = [
            f"Chaos, seed {self.seed}: processes struck {self.kills} times in {self.seconds:.0f} s"
            f" ({self.gateways} gateways, broker {self.broker})",
            "",
            f"  {'':{width}}"
            + "".join(f"{kind:>9}" for kind in kinds)
            + "   up (median)   healed (median, max)   after up",
        ]
        for target, counts in (*self.faults.items(), ("all", {})):
            row = f"  {target:{width}}" + "".join(f"{counts.get(kind, '·' if counts else ''):>9}" for kind in kinds)
            took = self.healing("" if target == "all" else target)
            lines.append(
                f"{row}{took['up_median']:12.2f} s {took['median']:11.2f} {took['max']:7.2f} s"
                f" {took['beyond_up_median']:7.2f} {took['beyond_up_max']:6.2f} s"
            )
        lines += [
            "",
            f"  commands  {self.commands['accepted']:,} accepted"
            f" ({self.commands['accepted'] / self.seconds:,.0f}/s), {self.commands['unknown']:,} with lost answers,"
            f" {self.commands['refused']:,} refused",
            "  outcomes  "
            + ", ".join(f"{self.commands[s]:,} {s.lower()}" for s in sorted(set(STATE_OF_KIND.values()))),
            f"  seen      {self.notices:,} notices by {len(self.watchers)} watchers over"
            f" {sum(watcher['connections'] for watcher in self.watchers):,} connections; {self.samples:,} samples,"
            f" {self.reads:,} reads of own writes",
            f"  notice    {self.beyond_due[0] * 1000:,.0f} ms after it was due at the median,"
            f" {self.beyond_due[1]:,.2f} s for 99 of 100, faults and all",
            "",
        ]
        return "\n".join([*lines, *self._verdict()])

    def _verdict(self) -> list[str]:
        took, counts = self.healing(), Counter(violation.rule for violation in self.violations)
        median, longest = took["median"], took["max"]
        first = {words: sum(counts[rule] for rule in rules) for words, rules in _ASKED_FIRST.items()}
        others = len(self.violations) - sum(first.values())
        return [
            f"  healed    {_against(median, HEALED_AT_THE_MEDIAN)} at the median,"
            f" {_against(longest, HEALED_AT_MOST)} at most; {self.seconds / max(1, self.kills):.2f} s a kill",
            f"  broken    {' · '.join(f'{count:,} {words}' for words, count in first.items())} · {others:,} others",
            "",
            "Every promise was kept."
            if self.ok
            else f"{len(self.violations):,} VIOLATIONS; the same faults again: --seed {self.seed}",
        ]


def _against(seconds: float, promised: float) -> str:
    return f"{seconds:.2f} s ({'promised' if seconds <= promised else 'MORE THAN PROMISED'}: {promised:g})"


def excerpts(history: History, violations: list[Violation]) -> str:
    """The violations by rule, the first ones each with all that the history has about their command and contact."""
    lines: list[str] = []
    for rule, count in Counter(violation.rule for violation in violations).most_common():
        lines += ["", f"{rule}: {count:,}"]
        for violation in [violation for violation in violations if violation.rule == rule][:_SHOWN]:
            lines += [f"  {violation.sentence}", *(f"    {line}" for line in _records(history, violation))]
    return "\n".join(lines)


def _records(history: History, violation: Violation, most: int = 60) -> list[str]:
    """Everything about the command and, around it, its contact, in the order of time; then the notices."""
    if not (violation.command_id or violation.contact_id):
        return []
    lines: list[tuple[float, str]] = []
    for command in history.commands:
        if violation.command_id != command.command_id and violation.contact_id != command.contact_id:
            continue
        what = f"{command.kind} {command.name!r} command {command.command_id or '?'}"
        if command.expected_version is not None:
            what += f" expecting version {command.expected_version}"
        for word, attempts in (("", command.attempts), ("cancel of ", command.cancels)):
            for attempt in attempts:
                answered = "never" if attempt.answered_at is None else f"{attempt.answered_at:.3f}"
                end = " ".join(filter(None, (attempt.answer, attempt.code, attempt.message)))
                lines.append((attempt.sent_at, f"{word}{what} to {attempt.gateway}, answered {answered}: {end}"))
    for sample in (*history.samples, *history.outcomes):
        if violation.command_id and sample.command_id == violation.command_id:
            lines.append((sample.sent_at, f"{sample.process} says {sample.command_id} is {sample.state or 'unknown'}"))
    if lines:
        first, last = min(lines)[0] - 1, max(lines)[0] + 3
        lines += [(event.at, f"— {event.what}") for event in history.events if first <= event.at <= last]
    records = [f"{at:9.3f} {what}" for at, what in sorted(lines)]
    notices = [
        f"notice {number}: {notice.kind} {notice.reason} {notice.name!r} version {notice.version} "
        f"by command {notice.command_id} ({notice.position})"
        for number, notice in history.notices
        if notice.command_id == violation.command_id or notice.contact_id == violation.contact_id
    ]
    return [*_cut(records, most), *_cut(notices, most)]


def _cut(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    half = most // 2
    return [*lines[:half], f"… {len(lines) - most} more …", *lines[-half:]]
