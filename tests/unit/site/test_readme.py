"""What README shows is there: documents, Python, commands, targets and files."""

import re
import subprocess
import sys

import pytest
from django.core.management import get_commands
from graphql import parse, validate

from cqrssite.environment import BASE_DIR
from cqrssite.graphql.schema import schema

README = (BASE_DIR / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DECLARATION, VIEW, TEST = PYTHON
DOCUMENTS = re.findall(r"```graphql\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_of_the_readme_is_valid(document):
    assert validate(schema.graphql_schema, parse(document)) == []


def test_the_readme_has_documents_and_python():
    assert len(DOCUMENTS) >= 6
    assert len(PYTHON) == 3


def test_the_declaration_that_the_readme_shows_is_that_of_contacts():
    assert DECLARATION in (BASE_DIR / "database_service" / "aggregate.py").read_text()


@pytest.mark.django_db(databases=["default", "contacts"])
def test_the_test_that_the_readme_shows_passes():
    names: dict = {}
    exec(compile(TEST, "README.md", "exec"), names)
    names["test_a_contact_is_added"]()


@pytest.mark.django_db
def test_the_view_that_the_readme_shows_answers(rf, django_user_model):
    names: dict = {}
    exec(compile(VIEW, "README.md", "exec"), names)
    request = rf.post("/", {"name": "Ada"})
    request.user = django_user_model(username="grace")
    answer = names["sign_up"](request)
    assert answer.status_code == 202


def test_every_management_command_of_the_readme_exists():
    named = set(re.findall(r"manage\.py (\w+)", README))
    assert {"runstack", "chaos", "createfirstuser"} <= named
    assert named <= set(get_commands())


def test_every_make_target_of_the_readme_exists():
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)):
        done = subprocess.run(["make", "--dry-run", target], cwd=BASE_DIR, capture_output=True, check=False)
        assert done.returncode == 0, f"make {target}: {done.stderr.decode()}"


def test_every_file_that_the_readme_names_exists():
    names = set(
        re.findall(
            r"(?:\]\(|`)((?:docs|tests|cqrs|cqrssite|contacts_write|contacts_read|database_service|chaos|benchmarks|protocol)/[\w./-]*)",
            README,
        )
    )
    missing = sorted(name for name in names if not (BASE_DIR / name).exists())
    assert missing == []


@pytest.mark.parametrize("options", re.findall(r"manage\.py chaos (--.*)", README))
def test_a_trial_of_the_readme_takes_its_options(options):
    done = subprocess.run(
        [sys.executable, "manage.py", "chaos", *options.split(), "--help"],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(option in done.stdout for option in options.split() if option.startswith("--"))
