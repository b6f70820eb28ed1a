"""The proof in small: the real processes, struck under load. `manage.py chaos` runs as many as one likes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.report import excerpts
from chaos.trial import Plan, Trial
from cqrssite.environment import BASE_DIR


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_every_promise_is_kept_through_kills_stops_and_freezes() -> None:
    trial = Trial(Plan(seed=20, kills=15, rate=80), progress=print)
    report = asyncio.run(trial.run())
    print(report.as_text())
    assert report.violations == [], excerpts(trial.history, report.violations)
    assert report.kills == 15
    assert report.commands["accepted"] > 300
    assert all(healing.seconds <= 10 for healing in report.healings)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_every_promise_is_kept_for_an_aggregate_that_a_setting_adds() -> None:
    trial = subprocess.run(
        [sys.executable, "manage.py", "chaos", "--aggregate", "note", "--kills", "10", "--rate", "80", "--seed", "3"],
        cwd=BASE_DIR,
        env=os.environ | {"CONTACTS_EXTRA_APPS": "tests.aggregates.note"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert trial.returncode == 0, trial.stdout + trial.stderr
    assert "Every promise was kept." in trial.stdout


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_every_promise_is_kept_by_a_process_that_is_the_whole_ring() -> None:
    trial = Trial(Plan(seed=21, kills=6, rate=80, ring=True, gateways=1), progress=print)
    report = asyncio.run(trial.run())
    assert report.violations == [], excerpts(trial.history, report.violations)
    assert report.kills == 6
    assert report.commands["APPLIED"] > 50


@pytest.mark.e2e
async def test_an_interrupted_trial_ends_everything_it_started(tmp_path: Path) -> None:
    trial = await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        "chaos",
        *("--kills", "20", "--keep", str(tmp_path)),
        cwd=BASE_DIR,
        stderr=asyncio.subprocess.PIPE,
        # Where the tests run in the background, a shell has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        async with asyncio.timeout(60):
            assert trial.stderr is not None
            while b"everything is up" not in (line := await trial.stderr.readline()):
                assert line, "the trial ended"
            assert len(pids_in(tmp_path)) == 6
            trial.send_signal(signal.SIGINT)
            _, errors = await trial.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            trial.kill()
    assert trial.returncode == 1
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    assert pids_in(tmp_path) == []


def pids_in(folder: Path) -> list[int]:
    """The processes that keep their data below `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"CONTACTS_VAR={folder}/".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found
