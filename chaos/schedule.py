"""The schedule: rounds of faults, all drawn from one seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

# Of a process: kill -9; SIGTERM, which drains; SIGSTOP and, after a while, SIGCONT.
ProcessFault = Literal["kill", "stop", "freeze"]
# Of a connection: cut: all that are open are reset, and new ones refused for a while. stall: bytes wait. slow: they are
# late. garble: MQTT messages are doubled, dropped and held back (`mqtt.Garbler`).
LinkFault = Literal["cut", "stall", "slow", "garble"]

PROCESS_FAULTS: dict[ProcessFault, float] = {"kill": 0.6, "stop": 0.15, "freeze": 0.25}
LINK_FAULTS: dict[LinkFault, float] = {"cut": 0.4, "stall": 0.3, "slow": 0.3}
MQTT_FAULTS: dict[LinkFault, float] = {"cut": 0.2, "stall": 0.1, "slow": 0.1, "garble": 0.6}


class Fault(NamedTuple):
    """One fault. `lasts`: seconds until the process is started again or continued, or the connection is whole again."""

    what: str
    target: str
    lasts: float


@dataclass(frozen=True, slots=True)
class Round:
    """Faults that strike together, after a pause of so many seconds in which nothing is broken."""

    pause: float
    processes: tuple[Fault, ...]
    links: tuple[Fault, ...]

    def __str__(self) -> str:
        return ", ".join(f"{what} {target} for {lasts:.2f} s" for what, target, lasts in (*self.processes, *self.links))


def rounds(
    seed: int, kills: int, processes: Sequence[str], links: Sequence[str], mqtt_links: Sequence[str]
) -> Iterator[Round]:
    """Rounds that strike processes `kills` times in all: half of them strike two at once, four of ten a connection too.

    Processes take turns in random order, so that each is struck equally often. Of the connections every other one is to
    the broker.
    """
    dice = random.Random(seed)
    bag: list[str] = []
    while kills > 0:
        count = min(kills, len(processes), 2 if dice.random() < 0.5 else 1)
        struck: list[str] = []
        while len(struck) < count:
            if not bag:
                bag = dice.sample(processes, len(processes))
            # Not the same one twice in a round: at the seam of two bags another comes first.
            struck.append(bag.pop(next(i for i in reversed(range(len(bag))) if bag[i] not in struck or len(bag) == 1)))
        struck = list(dict.fromkeys(struck))
        kills -= len(struck)
        yield Round(
            pause=dice.uniform(0.0, 0.2),
            processes=tuple(_fault(dice, PROCESS_FAULTS, name, 0.0, 0.8) for name in struck),
            links=(_link_fault(dice, links, mqtt_links),) if links and dice.random() < 0.4 else (),
        )


def _link_fault(dice: random.Random, links: Sequence[str], mqtt_links: Sequence[str]) -> Fault:
    if dice.random() < 0.5:
        return _fault(dice, MQTT_FAULTS, dice.choice(mqtt_links), 0.2, 1.0)
    return _fault(dice, LINK_FAULTS, dice.choice(links), 0.2, 1.0)


def _fault(
    dice: random.Random,
    faults: dict[ProcessFault, float] | dict[LinkFault, float],
    target: str,
    least: float,
    most: float,
) -> Fault:
    (what,) = dice.choices(list(faults), list(faults.values()))
    return Fault(what, target, dice.uniform(least, most))
