"""What the wheel holds."""

import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

PACKAGES = ("chaos", "contacts_read", "contacts_write", "cqrs", "cqrssite", "database_service", "protocol")


@pytest.fixture
def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_packages_with_their_typing_marks_and_nothing_else(files: set[str]) -> None:
    tops = {each.partition("/")[0] for each in files if ".dist-info/" not in each}
    assert tops == set(PACKAGES)
    assert {f"{each}/py.typed" for each in PACKAGES} <= files


def test_the_wheel_holds_every_file_that_is_read_at_run_time(files: set[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    kinds = ("protocol/*.proto", "protocol/*.pyi", "*/templates/**/*.html", "cqrssite/**/*.graphql")
    kinds += ("cqrssite/web/*.html", "cqrssite/static/**/*", "*/migrations/*.py", "*/management/commands/*.py")
    for kind in kinds:
        wanted = {str(path.relative_to(root)) for path in root.glob(kind) if path.is_file()}
        assert wanted, kind
        assert wanted <= files, kind


def test_the_wheel_names_its_extras_and_the_requirements_of_the_services(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(path).decode())
    assert set(metadata.get_all("Provides-Extra", [])) == {"postgresql", "chaos", "bench"}
    own = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    requirements = (Path(__file__).resolve().parents[2] / "requirements.txt").read_text().splitlines()
    assert len(own) == len([line for line in requirements if line and not line.startswith("#")])
