"""How the services start: in any order, saying what they wait for; and what stops a start is one clear line."""

import re
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Client, subscribed
from tests.support.probes import HOST, free_port, until
from tests.support.processes import Stack, manage


async def test_services_start_in_any_order_and_say_in_one_line_what_they_wait_for() -> None:
    with Stack(delay=0.2) as stack:
        stack.gateway(), stack.writer(), stack.reader()
        stack.gateway("runserver", server="runserver", address=f"{HOST}:{free_port()}")
        for service in stack.services.values():
            service.start(wait=False)
        # The gateways too, before anybody has asked them anything.
        waited_for = {
            "gateway": ("broker", "reader"),
            "runserver": ("broker", "reader"),
            "writer": ("broker",),
            "reader": ("database",),
        }
        for name, parts in waited_for.items():
            for part in parts:
                until(
                    lambda name=name, part=part: _waiting_lines(stack, name, part),
                    within=30,
                    what=f"the {name} says that it waits for the {part}",
                    show=stack[name].log,
                )
        stack["gateway"].wait_ready()
        async with Client(stack.url) as client:
            readiness = await client.readiness()
            parts = {part: readiness[part]["ok"] for part in ("journal", "broker", "reader", "database")}
            assert parts == {"journal": True, "broker": False, "reader": True, "database": False}
            added = await client.add("before anything else ran")

            stack.database().start()
            stack.broker().start()
            stack.wait_whole()
            async with subscribed(stack.url, afterPosition="0") as notices:
                assert (await notices.next())["commandId"] == added["commandId"]

        for name, parts in waited_for.items():
            for part in parts:
                assert len(_waiting_lines(stack, name, part)) == 1, stack[name].log()
            assert "Traceback" not in stack[name].log()


def _waiting_lines(stack: Stack, name: str, part: str) -> list[str]:
    return [line for line in stack[name].log().splitlines() if re.search(rf"waiting for [^:]*{part}", line)]


@pytest.fixture(scope="module")
def refused() -> Iterator[dict[str, tuple[int, str]]]:
    """What each start that must fail ended with and wrote; they run side by side."""
    with Stack() as stack, Stack(migrated=False) as empty, socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = f"{HOST}:{taken.getsockname()[1]}"
        starts = {
            "broker, port taken": stack.add("1", manage("runbroker"), broker_bind=port),
            "database, port taken": stack.add("2", manage("rundatabase"), database_bind=port),
            "reader, port taken": stack.add("3", manage("runreader"), reader_bind=port),
            "runserver, port taken": stack.gateway("4", server="runserver", address=port),
            "runstack, port taken": stack.add("5", manage("runstack"), reader_bind=port),
            "broker, wrong setting": stack.add("6", manage("runbroker"), broker_bind="nowhere"),
            "writer, wrong setting": stack.add("7", manage("runwriter"), delay="soon"),
            "gateway, port taken": stack.add("11", manage("rungateway"), gateway_bind=port),
            "uvicorn, wrong setting": stack.gateway("8"),
            "database, not migrated": empty.database(),
            "uvicorn, not migrated": empty.gateway("9"),
            "gateway, not migrated": empty.add("12", manage("rungateway")),
            "createfirstuser, not migrated": empty.add("13", manage("createfirstuser")),
            "runserver, not migrated": empty.gateway("10", server="runserver", address=stack.address["gateway"]),
        }
        starts["uvicorn, wrong setting"].environment["CONTACTS_JOURNAL_LIMIT"] = "0"
        for service in starts.values():
            service.start(wait=False)
        yield {name: (service.wait_end(), service.log()) for name, service in starts.items()}


IN_USE = r"cannot listen on 127.0.0.1:\d+ \(Address already in use\); CONTACTS_{}_BIND says where$"
LACKS = "the {} lacks migrations.*: run `python manage.py migrate{}`$"
CASES = {
    "broker, port taken": IN_USE.format("BROKER"),
    "database, port taken": IN_USE.format("DATABASE"),
    "reader, port taken": IN_USE.format("READER"),
    "runserver, port taken": IN_USE.format("GATEWAY"),
    "gateway, port taken": IN_USE.format("GATEWAY"),
    "runstack, port taken": IN_USE.format("READER"),
    "broker, wrong setting": "CONTACTS_BROKER_BIND",
    "writer, wrong setting": "CONTACTS_DELAY",
    "uvicorn, wrong setting": "CONTACTS_JOURNAL_LIMIT",
    "database, not migrated": LACKS.format("contacts database", " --database contacts"),
    "uvicorn, not migrated": LACKS.format("gateway's database", ""),
    "gateway, not migrated": LACKS.format("gateway's database", ""),
    "createfirstuser, not migrated": LACKS.format("gateway's database", ""),
    "runserver, not migrated": LACKS.format("gateway's database", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stops_a_start_is_said_in_one_line(refused: dict[str, tuple[int, str]], case: str) -> None:
    code, log = refused[case]
    print(f"{case}: {log}")
    assert code != 0
    assert "Traceback" not in log
    assert len([line for line in log.splitlines() if re.search(CASES[case], line)]) == 1
