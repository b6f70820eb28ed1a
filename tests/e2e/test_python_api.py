"""Commands from Python, of a process beside the gateways: what a team's views and tasks do."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Client
from tests.support.processes import Stack, run_manage

DELAY = 0.3

_BLOCK = """
import json, time
from contacts_write import add_contact, add_contacts, update_contact, wait_for
from django.db import transaction

with transaction.atomic():
    added = add_contact("Ada")
    renamed = update_contact(added.contact_id, "Ada Lovelace", expected_version=1)
single = [wait_for(each.command_id, 20) for each in (added, renamed)]
late = []
for _ in range(5):
    accepted = add_contact("one")
    late.append((wait_for(accepted.command_id, 20).settled_at - accepted.takes_effect_at).total_seconds())
many = add_contacts(f"name {number}" for number in range(1000))
states = {wait_for(each.command_id, 30).state for each in many}
print(json.dumps([[each.state for each in single], single[1].version, sorted(late), sorted(states)]))
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        yield stack.start_ring()


async def test_a_process_beside_the_gateway_sends_commands_and_learns_what_came_of_them(
    stack: Stack, client: Client
) -> None:
    output = run_manage(stack, "shell", "-c", _BLOCK)
    single, version, late, states = json.loads(output.stdout.strip().splitlines()[-1])
    assert (single, version, states) == (["APPLIED", "APPLIED"], 2, ["APPLIED"])
    assert late[len(late) // 2] < 0.5, "a gateway has them within a quarter of a second"
    assert "Ada Lovelace" in await client.names()
