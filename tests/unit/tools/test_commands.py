"""The commands around the services, where something that they need is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WITHOUT = """
import runpy, sys
sys.modules[{module!r}] = None
sys.argv = ["manage.py", *{arguments!r}]
runpy.run_path("manage.py", run_name="__main__")
"""


def manage_without(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """manage.py where a module cannot be imported."""
    code = WITHOUT.format(module=module, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_proof_says_in_one_sentence_what_to_install() -> None:
    done = manage_without("websockets.asyncio.client", "chaos")
    assert done.returncode != 0
    assert done.stderr.startswith("CommandError: the proof needs `pip install contacts-cqrs[chaos]`")
    assert len(done.stderr.splitlines()) == 1


def test_manage_py_outside_of_the_environment_gives_djangos_hint() -> None:
    done = manage_without("django", "check")
    assert done.returncode != 0
    assert "Did you forget to activate a virtual environment?" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_with_an_old_python_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").touch()
    old = tmp_path / "python3.9"
    # It can make environments, and says that it is older than asked for.
    old.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 1\nmkdir -p .venv/bin && touch .venv/bin/python\n')
    old.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", f"PYTHON={old}", "run"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "Python 3.11 or later is needed" in done.stderr.splitlines()[0]
    assert not (tmp_path / ".venv").exists()
