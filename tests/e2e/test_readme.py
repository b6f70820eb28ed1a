"""What README tells a newcomer to do, done as it stands there."""

import asyncio
import re
import subprocess

import pytest

from cqrssite.environment import BASE_DIR
from tests.e2e.clients import Client, eventually, subscribed
from tests.support.processes import Stack

README = (BASE_DIR / "README.md").read_text()
DOCUMENTS = re.findall(r"```graphql\n(.*?)```", README, re.DOTALL)
EXAMPLE_ID = "0797213a-d0d0-4221-ad6b-0184672ed7cd"
CURL = re.search(r"```sh\n(curl .*?)```", README, re.DOTALL)

pytestmark = pytest.mark.e2e


async def test_the_documents_of_the_readme_do_what_it_says() -> None:
    subscription, add, *examples = DOCUMENTS
    with Stack(delay=0.3) as stack:
        stack.start_ring()
        async with Client(stack.url) as client, subscribed(stack.url, subscription) as notices:
            added = (await client.data(add))["addContact"]
            assert (added["status"], added["message"]) == ("OK", "Queued to add")
            notice = await notices.next(within=10)
            assert notice["contact"] == {"id": added["contactId"], "name": "Ada Lovelace", "version": 1}
            for document in examples:
                answers = await client.data(document.replace(EXAMPLE_ID, added["contactId"]))
                for field, answer in answers.items():
                    if field != "listContacts":
                        assert (answer["status"], answer["message"][:9]) == ("OK", "Queued to")
            for _ in examples[1:]:
                await notices.next(within=10)
            assert await client.names() == ["John HUEBR"]


async def test_the_shell_command_of_the_readme_adds_a_contact() -> None:
    assert CURL, "README shows how to post with curl"
    with Stack(delay=0.3) as stack:
        stack.start_ring()
        command = CURL.group(1).replace("http://localhost:8080", stack.url)
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True
        )
        assert '"Queued to add"' in done.stdout, done
        async with Client(stack.url) as client:

            async def listed() -> bool:
                return await client.names() == ["Ada"]

            await eventually(listed, within=10, what="the contact is listed")
