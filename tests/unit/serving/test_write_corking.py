"""What a response's pieces become on the wire, at a transport that writes them down."""

import asyncio

import uvicorn

from cqrssite.serving.write_corking import MAX_HELD, CorkedHttpProtocol, CorkedMessages, CorkedTransport

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """Keeps what is written, a piece a call."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = []
        self.closed = False

    def write(self, data):
        assert not self.closed
        self.written.append(bytes(data))

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True


async def turn():
    await asyncio.sleep(0)


async def test_what_is_written_in_one_turn_leaves_together():
    plain = FakeTransport()
    transport = CorkedTransport(plain, asyncio.get_running_loop())
    transport.write(b"head ")
    transport.write(b"body")
    assert plain.written == []
    await turn()
    transport.write(b"the next")
    await turn()
    assert plain.written == [b"head body", b"the next"]


async def test_the_first_message_of_a_turn_leaves_at_once_and_those_behind_it_together_in_order():
    plain = FakeTransport()
    transport = CorkedMessages(plain, asyncio.get_running_loop())
    for message in (b"one", b"two", b"three"):
        transport.write(message)
    assert plain.written == [b"one"]
    await turn()
    assert plain.written == [b"one", b"twothree"]
    transport.write(b"four")
    assert plain.written == [b"one", b"twothree", b"four"]


async def test_a_message_written_while_others_are_about_to_leave_does_not_overtake_them():
    plain = FakeTransport()
    loop = asyncio.get_running_loop()
    transport = CorkedMessages(plain, loop)
    loop.call_soon(transport.write, b"three")
    transport.write(b"one")
    transport.write(b"two")
    loop.call_soon(transport.write, b"four")
    for _ in range(3):
        await turn()
    assert b"".join(plain.written) == b"onetwothreefour"


async def test_closing_and_taking_the_plain_transport_hold_nothing_back():
    for kind in (CorkedTransport, CorkedMessages):
        for end in (CorkedTransport.close, CorkedTransport.plain):
            plain = FakeTransport()
            transport = kind(plain, asyncio.get_running_loop())
            transport.write(b"last ")
            transport.write(b"words")
            end(transport)
            assert b"".join(plain.written) == b"last words"
            await turn()
            assert b"".join(plain.written) == b"last words"


async def test_no_more_than_the_limit_is_held():
    plain = FakeTransport()
    transport = CorkedTransport(plain, asyncio.get_running_loop())
    for _ in range(3):
        transport.write(b"x" * MAX_HELD)
    assert [len(piece) for piece in plain.written] == [2 * MAX_HELD]
    await turn()
    assert sum(len(piece) for piece in plain.written) == 3 * MAX_HELD


async def test_a_response_is_one_piece_and_the_bytes_are_those_of_uvicorn():
    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"body"})

    config = uvicorn.Config(application, lifespan="off", date_header=False, server_header=False, log_config=None)
    config.load()
    pieces = {}
    for kind in (CorkedHttpProtocol, CorkedHttpProtocol.__base__):
        transport = FakeTransport()
        protocol = kind(config=config, server_state=uvicorn.server.ServerState(), app_state={})
        protocol.connection_made(transport)
        protocol.data_received(REQUEST)
        for _ in range(5):
            await turn()
        pieces[kind] = transport.written
        protocol.connection_lost(None)
    ours, theirs = pieces.values()
    assert len(ours) == 1
    assert ours == [b"".join(theirs)] == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"]
