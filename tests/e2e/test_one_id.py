"""A command has one id, wherever one looks: from the answer and the journal to the notice, the logs and the admin."""

import contextlib
import html
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import grpc
import httpx

from cqrs.journal.models import Command
from cqrs.store.models import Notice
from protocol.cqrs_command_pb2 import CommandBatch
from tests.e2e.clients import Client, eventually, subscribed
from tests.e2e.topics import listening
from tests.support.probes import HOST, until
from tests.support.processes import Stack, logs_of_open_stacks, run_manage

PASSWORD = "correct horse battery staple"
# Those that know a command by its id. Broker and reader pass bytes on and know none; they log no commands.
LOGGING = {"gateway": "sent", "writer": "applied", "database": "recorded as ADDED"}


class Recorder(grpc.GenericRpcHandler):
    """Stands before a gRPC service: writes down every request and passes it on, bytes for bytes.

    On the wire a unary call is a stream of one request and one answer.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self._channel = channel

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def pass_on(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            call = self._channel.stream_stream(details.method)()
            try:
                async for request in requests:
                    self.requests.append((details.method, request))
                    await call.write(request)
                    await context.write(await call.read())
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            finally:
                call.cancel()

        return grpc.stream_stream_rpc_method_handler(pass_on)

    def applied(self) -> list[str]:
        """The ids of the commands that were to be applied."""
        batches = [CommandBatch.FromString(request) for method, request in self.requests if "/Apply" in method]
        return [command.meta.command_id for batch in batches for command in batch.command]


@contextlib.asynccontextmanager
async def recording(address: str) -> AsyncIterator[tuple[str, Recorder]]:
    """An address that leads to the service at `address`, and what is asked there."""
    async with grpc.aio.insecure_channel(address) as channel:
        recorder = Recorder(channel)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((recorder,))
        port = server.add_insecure_port(f"{HOST}:0")
        await server.start()
        try:
            yield f"{HOST}:{port}", recorder
        finally:
            # The notice may have come before the writer had its answer, which it gets.
            await server.stop(1)


def column(database: Path, table: str, name: str) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [value for (value,) in connection.execute(f"SELECT {name} FROM {table}")]


@contextlib.asynccontextmanager
async def logged_in(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of the admin's first user."""
    run_manage(stack, "createfirstuser", DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    async with httpx.AsyncClient(base_url=stack.url, follow_redirects=True, timeout=15) as browser:
        page = (await browser.get("/admin/login/")).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token is not None
        form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
        assert "/admin/logout/" in (await browser.post("/admin/login/?next=/admin/", data=form)).text
        yield browser


async def test_a_commands_id_is_one_and_the_same_from_the_answer_to_the_admin() -> None:
    with Stack(delay=0.3, log_level="DEBUG") as stack:
        stack.broker(), stack.database(), stack.reader(), stack.gateway()
        async with recording(stack.address["database"]) as (address, recorder):
            stack.add("writer", stack.writer().command, database_write_address=address)
            stack.start()
            async with (
                Client(stack.url) as client,
                subscribed(stack.url) as notices,
                listening(stack.address["broker"]) as heard,
            ):
                command_id = (await client.add("one id"))["commandId"]
                assert command_id
                (notice,) = await notices.until_seen({command_id})
                assert notice["commandId"] == command_id
                assert (await client.command(command_id))["id"] == command_id

                async def was_heard() -> bool:
                    return bool(heard.commands)

                await eventually(was_heard, within=5, what="the message comes to the listener, too")
                assert set(heard.commands) == {command_id}
        assert set(recorder.applied()) == {command_id}
        assert column(stack.var / "gateway.sqlite3", Command._meta.db_table, "command_id") == [command_id]
        assert column(stack.var / "contacts.sqlite3", Notice._meta.db_table, "command_id") == [command_id]

        def logged() -> bool:
            # More than once, where a writer said hello meanwhile.
            ids = {name: re.findall(rf"{does} command=(\S+)", stack[name].log()) for name, does in LOGGING.items()}
            return all(set(found) == {command_id} for found in ids.values())

        # The notice may have been here before the writer had its answer.
        until(logged, within=5, what="each process has logged what it did", show=lambda: str(logs_of_open_stacks()))
        for name, service in stack.services.items():
            assert set(re.findall(r"command=(\S+)", service.log())) <= {command_id}, name

        async with logged_in(stack) as browser:
            for changelist in ("cqrs/command", "cqrs/notice"):
                listed = (await browser.get(f"/admin/{changelist}/?command_id={command_id}")).text
                (link,) = set(re.findall(rf'href="(/admin/{changelist}/\d+/change/[^"]*)"', listed))
                assert command_id in (await browser.get(html.unescape(link))).text
