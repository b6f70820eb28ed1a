"""How fast a link comes back where something else than the broker answers."""

import asyncio

from cqrs.transport.mqtt import MqttLink


async def test_a_connection_that_ends_before_it_is_accepted_is_tried_again_at_once() -> None:
    tries = asyncio.Semaphore(0)

    async def accept_and_close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.release()
        writer.close()

    server = await asyncio.start_server(accept_and_close, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    running = asyncio.create_task(MqttLink(f"{host}:{port}", name="test").run())
    try:
        # Waiting for the acceptance to the deadline, it takes 5 s for the second.
        async with asyncio.timeout(3):
            for _ in range(3):
                await tries.acquire()
    finally:
        running.cancel()
        await asyncio.wait([running])
        server.close()
