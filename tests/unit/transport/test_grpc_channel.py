"""Channels find their peer: past the web's proxies, and at another address when it has moved."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.grpc_server import grpc_server, is_healthy
from tests.support.probes import free_port


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_a_proxy_of_the_environment_diverts_no_call(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    async with grpc_server("127.0.0.1:0", lambda _server: None, tokens={}, grace=0.1) as port:
        assert await is_healthy(f"127.0.0.1:{port}", within=5)


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an address with the one that it has now."""

    address = "127.0.0.1"

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5
        question = data[12:end]
        (kind,) = struct.unpack(">H", question[-4:-2])
        is_found = kind == 1  # A
        header = data[:2] + struct.pack(">HHHHH", 0x8580, 1, int(is_found), 0, 0)
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(self.address)
        self._transport.sendto(header + question + (answer if is_found else b""), addr)


@pytest.fixture
async def names() -> AsyncIterator[tuple[NameServer, int]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    yield server, transport.get_extra_info("sockname")[1]
    transport.close()


async def test_a_peer_that_comes_back_at_another_address_of_its_name_is_found_within_5_s(
    names: tuple[NameServer, int],
) -> None:
    server, names_port = names
    port = free_port()
    async with (
        contextlib.AsyncExitStack() as first,
        open_channel(f"dns://127.0.0.1:{names_port}/peer.test:{port}") as channel,
    ):
        await first.enter_async_context(grpc_server(f"127.0.0.1:{port}", lambda _server: None, tokens={}, grace=0.1))
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        await check(b"", timeout=5)
        await first.aclose()
        server.address = "127.0.0.2"
        async with grpc_server(f"127.0.0.2:{port}", lambda _server: None, tokens={}, grace=0.1):
            await check(b"", timeout=5, wait_for_ready=True)
