"""The project as one process: on its one database, beside the services or in their place."""

import signal

import httpx

from tests.package.page import Reader
from tests.support.probes import HOST, free_port, until

WRITE = 'mutation { writeNote(text: "bread", stars: 1) { commandId } }'


def test_runring_is_the_whole_ring_of_the_project(reader: Reader) -> None:
    address = f"{HOST}:{free_port()}"
    log = reader.project.folder.parent / "runring.log"
    with log.open("wb") as out:
        ring = reader.project.start(f"python manage.py runring --bind {address}", out)
    try:

        def is_ready() -> bool:
            assert ring.poll() is None, log.read_text()
            try:
                said = httpx.get(f"http://{address}/readyz").json()
            except httpx.TransportError:
                return False
            return bool(said["status"] == "ready" and said["writer"]["ok"])

        until(is_ready, within=60, what="/readyz says ready", show=log.read_text)

        def execute(document: str) -> dict[str, dict[str, str]]:
            data: dict[str, dict[str, str]] = httpx.post(
                f"http://{address}/graphql", json={"query": document}, timeout=10
            ).json()["data"]
            return data

        command_id = execute(WRITE)["writeNote"]["commandId"]
        asked = f'{{ command(id: "{command_id}") {{ state }} }}'
        until(lambda: execute(asked)["command"]["state"] == "APPLIED", within=20, what="it is applied")
    finally:
        ring.send_signal(signal.SIGTERM)
        ring.wait(timeout=30)
    assert f"The whole ring in one process: GraphQL on http://{address}/graphql" in log.read_text()
