"""An empty Django project beside this one: it knows the kit by its wheel alone."""

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(into: Path) -> Path:
    """Builds the wheel of a copy of this tree, since setuptools leaves folders behind where it builds."""
    source = into / "source"
    copy_tree(source, without=("tests/", "benchmarks/"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into)]
    _run([sys.executable, "-m", "pip", "wheel", *options, str(source)], into)
    (wheel,) = into.glob("*.whl")
    return wheel


def copy_tree(into: Path, *, without: tuple[str, ...] = ()) -> None:
    """Copies the files of this tree that git knows, or is to know."""
    listed = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT).split("\0")
    for path in listed:
        if (ROOT / path).is_file() and not (without and path.startswith(without)):
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, into / path)


class Project:
    """An empty folder, and an environment in which the wheel is installed."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder / "project"
        self.environment = folder / "environment"
        self._bin = self.environment / "bin"
        self._python = str(self._bin / "python")
        self.folder.mkdir(parents=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(self.environment)], folder)
        _run(
            [sys.executable, "-m", "pip", "--quiet", "--python", self._python, "install", "--no-deps", str(wheel)],
            folder,
        )
        # Nothing is downloaded: what the wheel depends on is that of the tests.
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = self.environment / "lib" / version / "site-packages"
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        admin = self._bin / "django-admin"
        admin.write_text('#!/bin/sh\nexec python -m django "$@"\n')
        admin.chmod(0o755)

    def settings(self, **assigned: str) -> None:
        """Adds assignments to the project's settings: expressions by name."""
        with (self.folder / "shop" / "settings.py").open("a") as file:
            file.writelines(f"{name} = {expression}\n" for name, expression in assigned.items())

    def run(self, *arguments: str, check: bool = True) -> str:
        """Runs the project's Python; returns what it says."""
        return _run([self._python, "-W", "error", *arguments], self.folder, check=check)

    def manage(self, *arguments: str, check: bool = True) -> str:
        return self.run("manage.py", *arguments, check=check)

    def bash(self, line: str) -> None:
        """Runs a line as typed in the project's folder, its environment active."""
        _run(["bash", "-ec", line], self.folder, environment=self._active())

    def start(self, line: str, out: BinaryIO) -> subprocess.Popen[bytes]:
        """Starts a line as typed in the project's folder; its process is that of the line's command."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self._active(), stdout=out, stderr=subprocess.STDOUT
        )

    def shell(self, code: str) -> str:
        """Runs code in a process of the project, as a task or a script would be, with Django set up."""
        setup = 'import os, django\nos.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"\ndjango.setup()\n'
        return self.run("-c", setup + textwrap.dedent(code)).strip()

    def _active(self) -> dict[str, str]:
        own = _environment()
        return own | {"PATH": f"{self._bin}{os.pathsep}{own['PATH']}"}


def _environment() -> dict[str, str]:
    """This process's environment; neither this project's settings nor its folder reach another."""
    foreign = ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")
    return {
        name: value for name, value in os.environ.items() if name not in foreign and not name.startswith("CONTACTS_")
    }


def _run(command: list[str], folder: Path, *, check: bool = True, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment or _environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout if check else done.stdout + done.stderr
