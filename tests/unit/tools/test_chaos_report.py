"""What a trial's report says of what is promised."""

import pytest

from chaos.case import Violation
from chaos.report import Healing, Report

NOTHING = dict.fromkeys(("accepted", "unknown", "refused", "APPLIED", "REJECTED", "CANCELLED", "DISCARDED"), 0)


def report(healed: list[float], *rules: str) -> Report:
    return Report(
        seed=7,
        broker="amqtt",
        gateways=2,
        seconds=30.0,
        faults={"writer": {"kill": len(healed)}},
        kills=len(healed),
        commands=NOTHING,
        notices=0,
        watchers=[],
        samples=0,
        reads=0,
        beyond_due=(0.0, 0.0),
        healings=[Healing("kill writer", ["writer"], up=0.5, seconds=seconds) for seconds in healed],
        violations=[Violation(rule, "a sentence") for rule in rules],
    )


@pytest.mark.parametrize(
    ("healed", "said"),
    [
        ([0.5, 1.0, 9.0], "healed    1.00 s (promised: 2) at the median, 9.00 s (promised: 10) at most"),
        ([2.5, 3.0, 11.0], "healed    3.00 s (MORE THAN PROMISED: 2) at the median, 11.00 s (MORE THAN PROMISED: 10)"),
    ],
)
def test_healing_is_held_against_what_is_promised(healed: list[float], said: str) -> None:
    text = report(healed).as_text()
    assert said in text
    assert "10.00 s a kill" in text


def test_what_was_broken_is_counted_by_what_a_reader_asks_first() -> None:
    text = report([1.0], "lost", "twice", "twice", "watcher", "state").as_text()
    assert "broken    1 lost · 2 applied twice · 0 out of order · 1 notices missing · 1 others" in text
    assert text.endswith("5 VIOLATIONS; the same faults again: --seed 7")
    assert report([1.0]).as_text().endswith("Every promise was kept.")
