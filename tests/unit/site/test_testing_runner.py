"""`manage.py test` runs pytest."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run_tests(*labels: str) -> tuple[int, str]:
    command = [sys.executable, "manage.py", "test", *labels]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


def test_manage_py_test_runs_what_paths_and_djangos_labels_name() -> None:
    one = "test_without_settings_both_databases_are_the_default_one"
    status, said = run_tests(
        "--verbosity=2",
        f"tests.unit.kit.test_conf.{one}",
        "tests/unit/kit/test_databases.py",
        "tests.unit.kit.test_conf",
    )
    assert status == 0, said
    assert f"::{one} PASSED" in said
    assert "test_databases.py::" in said
    assert "test_conf.py::test_an_address" in said


def test_a_label_without_tests_is_not_ok() -> None:
    status, said = run_tests("tests/support/polling.py")
    assert status == 1
    assert "no tests ran" in said


def test_without_labels_it_runs_the_whole_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    # Lists it, in place of running it.
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only -q")
    status, said = run_tests()
    assert status == 0, said
    assert "tests/e2e/" in said
    assert "tests/unit/kit/test_conf.py" in said
