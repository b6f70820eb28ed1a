"""An empty Django project beside this one: it knows the kit by its wheel alone, and has an aggregate of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTES = Path(__file__).with_name("notes")


def build_wheel(into: Path) -> Path:
    """Builds the wheel of a copy of this tree, since setuptools leaves folders behind where it builds."""
    source = into / "source"
    listed = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT).split("\0")
    for path in listed:
        if (ROOT / path).is_file() and not path.startswith(("tests/", "benchmarks/")):
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, source / path)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into)]
    _run([sys.executable, "-m", "pip", "wheel", *options, str(source)], into)
    (wheel,) = into.glob("*.whl")
    return wheel


class Project:
    """A project made by `django-admin startproject shop`, with the wheel installed and the app `notes`, in `folder`."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder / "shop"
        self.environment = folder / "environment"
        self._python = str(self.environment / "bin" / "python")
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

        self.run("-m", "django", "startproject", "shop", ".")
        self.settings(INSTALLED_APPS='[*INSTALLED_APPS, "cqrs", "notes"]', DATABASE_ROUTERS='["cqrs.databases.Router"]')
        self._add_notes()

    def settings(self, **assigned: str) -> None:
        """Adds assignments to the project's settings: expressions by name."""
        with (self.folder / "shop" / "settings.py").open("a") as file:
            file.writelines(f"{name} = {expression}\n" for name, expression in assigned.items())

    def run(self, *arguments: str, check: bool = True) -> str:
        """Runs the project's Python; returns what it says."""
        return _run([self._python, "-W", "error", *arguments], self.folder, check=check)

    def manage(self, *arguments: str, check: bool = True) -> str:
        return self.run("manage.py", *arguments, check=check)

    def shell(self, code: str) -> str:
        """Runs code in a process of the project, as a task or a script would be, with Django set up."""
        setup = 'import os, django\nos.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"\ndjango.setup()\n'
        return self.run("-c", setup + textwrap.dedent(code)).strip()

    def _add_notes(self) -> None:
        notes = self.folder / "notes"
        (notes / "migrations").mkdir(parents=True)
        for each in (notes, notes / "migrations"):
            (each / "__init__.py").touch()
        for each in NOTES.iterdir():
            if each.is_file():
                shutil.copy(each, notes)
        self.run("-m", "grpc_tools.protoc", "-I.", "--python_out=.", "notes/messages.proto")


def _run(command: list[str], folder: Path, *, check: bool = True) -> str:
    # Neither this project's settings nor its folder reach the other.
    foreign = ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout if check else done.stdout + done.stderr
