"""A figure, and the hello-world that makes figures of different machines comparable."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Unit(Enum):
    """What a figure counts, and how it is printed."""

    PER_SECOND = "/s"
    MILLISECONDS = "ms"
    SECONDS = "s"
    MICROSECONDS = "µs"
    CORES = "cores"
    KILOBYTES = "KB"
    MEGABYTES = "MB"

    @property
    def more_is_better(self) -> bool:
        return self is Unit.PER_SECOND

    @property
    def milliseconds(self) -> float:
        """How many milliseconds one of it has; 0 when it is no time."""
        return {Unit.MILLISECONDS: 1.0, Unit.SECONDS: 1000.0, Unit.MICROSECONDS: 0.001}.get(self, 0.0)


@dataclass(frozen=True)
class Figure:
    """One number. key: names it in JSON and among the committed ratios. tail: it is a 99th percentile.

    compared: with other runs; not what is close to nothing, where twice as much means as little.
    """

    key: str
    label: str
    value: float
    unit: Unit
    tail: bool = False
    compared: bool = True

    @property
    def group(self) -> str:
        return self.key.partition(".")[0]


@dataclass(frozen=True)
class Load:
    """What came of a load over HTTP. p50, p99: milliseconds from request to answer."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def figures(self, key: str, label: str) -> list[Figure]:
        """Its rate and its two percentiles."""
        return [
            Figure(key, label, self.rate, Unit.PER_SECOND),
            Figure(f"{key}.p50", f"{label}: p50", self.p50, Unit.MILLISECONDS),
            Figure(f"{key}.p99", f"{label}: p99", self.p99, Unit.MILLISECONDS, tail=True),
        ]


@dataclass(frozen=True)
class Hello:
    """The hello-world of a run: a plain ASGI application on uvicorn, one process, 64 connections.

    It is measured several times over the run, and the median counts. p50, p99: milliseconds.
    """

    rate: float
    p50: float
    p99: float
    spread: float
    """How far apart its measurements lie, as a share of the median: above 0.1 the machine was not quiet."""

    @classmethod
    def of(cls, loads: Sequence[Load]) -> "Hello":
        rates = [load.rate for load in loads]
        rate = statistics.median(rates)
        return cls(
            rate=rate,
            p50=statistics.median(load.p50 for load in loads),
            p99=statistics.median(load.p99 for load in loads),
            spread=(max(rates) - min(rates)) / rate,
        )

    def ratio(self, figure: Figure) -> float | None:
        """The figure as a multiple of the hello-world's; None for what does not depend on the machine's speed.

        A rate is divided by its rate, a 99th percentile by its 99th, any other time by its median.
        CPU (cores, at a given rate) is multiplied by its rate, in thousands: how much of the hello-world it stands for.
        """
        if figure.unit is Unit.PER_SECOND:
            return figure.value / self.rate
        if figure.unit is Unit.CORES:
            return figure.value * self.rate / 1000
        if figure.unit.milliseconds:
            return figure.value * figure.unit.milliseconds / (self.p99 if figure.tail else self.p50)
        return None
