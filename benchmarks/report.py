"""What came of a run: a table, JSON, and how its ratios compare with those that are committed."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Hello, Unit

# Worse by more than this share is marked; a 99th percentile, which hangs on a few of the requests, by more than that.
TOLERANCE = 0.15
TAIL_TOLERANCE = 0.5
_TOLERATED = f"{TOLERANCE:.0%} (p99: {TAIL_TOLERANCE:.0%})"
# What a run is compared with: the Go original, all of its services on two cores, as a share of the same hello-world.
GO = {
    "reads.contact": 0.13,
    "reads.list": 0.09,
    "writes.accepted": 0.24,
}
_TITLES = {
    "reads": "Reads, 1,000 contacts",
    "sizes": "With many contacts",
    "writes": "Writes",
    "delays": "Delay",
    "notices": "Notices",
    "sockets": "Sockets",
    "resuming": "Sockets that resume",
    "memory": "Memory",
    "start": "Start",
    "stock": "Side by side: stock graphene-django",
    "plain": "Side by side: the same system without batching and plans",
    "broker": "Side by side: the raw broker",
    "database": "Side by side: the raw database",
}


@dataclass(frozen=True)
class Change:
    """A figure beside the committed one. share: 0.1 is a tenth more. worse: by more than the tolerance."""

    share: float
    worse: bool

    def __str__(self) -> str:
        return f"{self.share:+.0%}" + (" WORSE" if self.worse else "")


@dataclass(frozen=True)
class Run:
    """All figures of one run, in the order they were measured.

    without: why figures are missing, by scenario. others: cores that other processes kept busy meanwhile.
    """

    hello: Hello
    figures: Sequence[Figure]
    quick: bool
    gateways: int
    without: Mapping[str, str]
    others: float = 0.0

    @property
    def kind(self) -> str:
        """Which of the committed ratios this run compares with: a short run has others than a long one."""
        return ("quick" if self.quick else "full") + (f"-{self.gateways}" if self.gateways > 1 else "")

    def measures(self) -> dict[str, float]:
        """What is compared between runs, by key: the ratio, or the value of what has none."""
        return {figure.key: measure(figure, self.hello) for figure in self.figures}

    def changes(self, committed: Mapping[str, float]) -> dict[str, "Change"]:
        """How the figures compare with the committed ones, by key."""
        measures = self.measures()
        changes = {f.key: change(f, measures[f.key], committed.get(f.key)) for f in self.figures}
        return {key: changed for key, changed in changes.items() if changed}


def measure(figure: Figure, hello: Hello) -> float:
    """The ratio to the hello-world, or the value of what does not depend on the machine's speed."""
    ratio = hello.ratio(figure)
    return figure.value if ratio is None else ratio


def change(figure: Figure, now: float, before: float | None) -> Change | None:
    """How a measure compares with an earlier one of the same figure; None where there is none to compare with."""
    if not before or not figure.compared:
        return None
    tolerance = TAIL_TOLERANCE if figure.tail else TOLERANCE
    worse = now < before * (1 - tolerance) if figure.unit.more_is_better else now > before * (1 + tolerance)
    return Change(now / before - 1, worse)


def show(run: Run, committed: Mapping[str, float], console: Console) -> None:
    """Prints the table."""
    measures, changes = run.measures(), run.changes(committed)
    table = Table(title="Ratios are to the hello-world of the same run: rate to rate, p99 to p99, other times to p50")
    table.add_column("figure")
    for column in ("value", "ratio", "committed", "change"):
        table.add_column(column, justify="right")
    hello = run.hello
    table.add_row("hello-world: p50", _value(hello.p50, Unit.MILLISECONDS), "1", "", "")
    table.add_row("hello-world: p99", _value(hello.p99, Unit.MILLISECONDS), "1", "", "")
    table.add_row("hello-world", _value(hello.rate, Unit.PER_SECOND), "1", "", "")
    group = ""
    for figure in run.figures:
        if figure.group != group:
            group = figure.group
            table.add_section()
            table.add_row(f"[bold]{_TITLES.get(group, group)}[/bold]")
        before = committed.get(figure.key)
        changed = changes.get(figure.key)
        table.add_row(
            figure.label,
            _value(figure.value, figure.unit),
            "" if hello.ratio(figure) is None else _short(measures[figure.key]),
            "" if before is None else _short(before),
            "" if changed is None else f"[bold red]{changed}[/bold red]" if changed.worse else str(changed),
        )
    console.print(table)
    for line in remarks(run, committed):
        console.print(line, highlight=False)


def remarks(run: Run, committed: Mapping[str, float]) -> list[str]:
    """What a reader must know beside the table."""
    measures = run.measures()
    lines = [f"{name} is missing: {why}" for name, why in run.without.items()]
    if run.hello.spread > 0.1 or run.others > 0.1:
        lines.append(
            f"Take the ratios with care, the machine was not quiet: others kept {run.others:.2f} cores busy, and the "
            f"hello-world varied by {run.hello.spread:.0%} within this run."
        )
    for ours, theirs, text in (
        ("reads.list", "stock.daphne_list", "listContacts(10): {:.0f} × stock graphene-django on daphne"),
        ("reads.contact", "stock.daphne_contact", "contact(id): {:.0f} × stock graphene-django on daphne"),
        ("reads.contact", "plain.contact", "contact(id): {:.1f} × the same system without batching and plans"),
        ("writes.committed", "plain.committed", "committed: {:.1f} × the same system without batching and plans"),
    ):
        if ours in measures and theirs in measures:
            lines.append(text.format(measures[ours] / measures[theirs]))
    for key, go in GO.items():
        if key in measures:
            lines.append(f"{key}: {measures[key]:.2f} of the hello-world; the Go original {go:.2f}")
    worse = [key for key, changed in run.changes(committed).items() if changed.worse]
    if worse:
        lines.append(f"WORSE than committed, by more than {_TOLERATED}: {', '.join(worse)}")
    elif committed:
        lines.append(f"Nothing is worse than committed by more than {_TOLERATED}.")
    return lines


def as_json(run: Run) -> dict[str, Any]:
    """The run as it is written to a file."""
    measures = run.measures()
    return {
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "quick": run.quick,
        "gateways": run.gateways,
        "others_cores": run.others,
        "hello": {"rate": run.hello.rate, "p50_ms": run.hello.p50, "p99_ms": run.hello.p99, "spread": run.hello.spread},
        "figures": [
            {
                "key": figure.key,
                "label": figure.label.strip(),
                "value": figure.value,
                "unit": figure.unit.value,
                "ratio": None if run.hello.ratio(figure) is None else measures[figure.key],
            }
            for figure in run.figures
        ],
        "missing": dict(run.without),
    }


def read_committed(file: Path, kind: str) -> dict[str, float]:
    """The committed measures for this kind of run; none when there are none yet."""
    if not file.exists():
        return {}
    kinds: dict[str, dict[str, float]] = json.loads(file.read_text())
    return kinds.get(kind, {})


def keep(run: Run, file: Path) -> None:
    """Makes the measures of this run those that are committed, beside those it has none of."""
    kinds: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    measures = run.measures()
    rounded = {figure.key: float(f"{measures[figure.key]:.3g}") for figure in run.figures if figure.compared}
    kinds[run.kind] = kinds.get(run.kind, {}) | rounded
    file.write_text(json.dumps(kinds, indent=1, sort_keys=True) + "\n")


def _value(value: float, unit: Unit) -> str:
    return f"{_short(value)} {unit.value}"


def _short(value: float) -> str:
    """Three digits that tell something."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
