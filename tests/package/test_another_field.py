"""A field of contacts is added in three places: message, model and rule. Everything else follows from them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.package.project import copy_tree

# By hand; stubs and the migration are made by commands.
PLACES = {
    "protocol/contact.proto": (
        "  google.protobuf.Timestamp last_updated = 5;\n",
        "  google.protobuf.Timestamp last_updated = 5;\n  optional string email = 13;\n",
    ),
    "database_service/models.py": (
        "    class Meta:\n",
        '    email = models.EmailField(null=True, help_text="Where to write to.")\n\n    class Meta:\n',
    ),
    "database_service/aggregate.py": (
        "    return Contact(name=wanted.name)\n",
        "    return Contact(name=wanted.name, email=wanted.email if wanted.HasField('email') else None)\n",
    ),
}


class Copy:
    """A copy of this tree, whose commands run with a database of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "copy"
        copy_tree(self.folder, without=("tests/", "benchmarks/"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTS_")}
        own = {"CONTACTS_VAR": str(folder / "var"), "CONTACTS_ENV_FILE": "", "PYTHONPATH": ""}
        self._environment = kept | own | {"DJANGO_SETTINGS_MODULE": "cqrssite.settings"}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, code: str) -> str:
        return self.run("-c", "import django\ndjango.setup()\n" + textwrap.dedent(code)).strip()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    copy = Copy(tmp_path_factory.mktemp("field"))
    for path, (before, after) in PLACES.items():
        file = copy.folder / path
        assert before in file.read_text(), path
        file.write_text(file.read_text().replace(before, after))
    copy.run("-m", "protocol.generate")
    copy.run("manage.py", "makemigrations", "database_service", "--name", "email")
    for database in ("default", "contacts"):
        copy.run("manage.py", "migrate", "--verbosity", "0", "--database", database)
    return copy


def test_the_field_is_in_the_schema_as_argument_and_as_field(copy: Copy) -> None:
    schema = copy.run("-c", "import django; django.setup(); from cqrssite.graphql.schema import schema; print(schema)")
    contact = schema[schema.index("type Contact {") :]
    assert "\n  email: String\n" in contact[: contact.index("}")]
    mutations = schema[schema.index("type Mutation {") :]
    assert mutations.count("    email: String\n") == 2
    assert '"""Where to write to."""' in mutations


def test_a_command_with_the_field_takes_effect_and_the_models_rule_holds(copy: Copy) -> None:
    said = copy.shell(
        """
        from cqrs.journal.api import submit
        from cqrs.journal.errors import InvalidCommand
        from cqrs.testing import commands_take_effect_at_once
        from database_service.models import Contact
        with commands_take_effect_at_once():
            ada = submit("contact.add", name="Ada", email="ada@example.org").aggregate_id
            submit("contact.add", name="Bob")
            print(sorted((each.name, each.email) for each in Contact.objects.all()))
            submit("contact.update", ada, name="Ada", email="countess@example.org")
            print(Contact.objects.get(pk=ada).email)
        try:
            submit("contact.add", name="Cy", email="nowhere")
        except InvalidCommand as error:
            print("refused:", error)
        """
    )
    first, second, third = said.splitlines()
    assert first == "[('Ada', 'ada@example.org'), ('Bob', None)]"
    assert second == "countess@example.org"
    assert third.startswith("refused: ")
    assert "email" in third
