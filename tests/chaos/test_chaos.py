"""The proof in small: the real processes, struck under load. `manage.py chaos` runs as many as one likes."""

import asyncio

import pytest

from cqrssite.chaos.report import excerpts
from cqrssite.chaos.trial import Plan, Trial


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_every_promise_is_kept_through_kills_stops_and_freezes() -> None:
    trial = Trial(Plan(seed=20, kills=15, rate=80), say=print)
    report = asyncio.run(trial.run())
    print(report.as_text())
    assert report.violations == [], excerpts(trial.history, report.violations)
    assert report.kills == 15
    assert report.commands["accepted"] > 300
    assert all(healing.seconds <= 10 for healing in report.healings)
