"""The small ASGI applications that hold the gateway's parts together."""

from typing import Any, Self

import pytest

from cqrs.transport.process import StartError
from cqrssite.asgi_apps import ByPath, Lifespan, refuse_socket


class FakeGateway:
    """Opens unless it has an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.events: list[str] = []

    async def __aenter__(self) -> Self:
        if self.error:
            raise self.error
        self.events.append("opened")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.events.append("closed")


async def live(gateway: FakeGateway) -> list[dict[str, Any]]:
    """What the server is told over one life; notes in the gateway's events when it is told to start and to stop."""
    sent: list[Any] = []
    orders = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        gateway.events.append(order := next(orders))
        return {"type": order}

    async def send(message: Any) -> None:
        gateway.events.append(message["type"])
        sent.append(message)

    await Lifespan(lambda: gateway)({"type": "lifespan"}, receive, send)
    return sent


async def test_the_gateway_is_open_before_the_server_accepts_and_closed_before_it_is_gone() -> None:
    gateway = FakeGateway()
    await live(gateway)
    assert gateway.events == [
        "lifespan.startup",
        "opened",
        "lifespan.startup.complete",
        "lifespan.shutdown",
        "closed",
        "lifespan.shutdown.complete",
    ]


async def test_a_gateway_that_cannot_be_opened_stops_the_server_with_the_reason() -> None:
    (failed,) = await live(FakeGateway(StartError("migrations are not applied")))
    assert failed == {
        "type": "lifespan.startup.failed",
        "message": "The gateway cannot start: migrations are not applied",
    }


async def test_a_defect_while_opening_stops_the_server_and_shows_where(caplog: pytest.LogCaptureFixture) -> None:
    (failed,) = await live(FakeGateway(ZeroDivisionError("what")))
    assert failed == {"type": "lifespan.startup.failed", "message": "The gateway cannot start: what"}
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(("path", "answered_by"), [("/a", "a"), ("/a/", "other"), ("/b", "other"), ("", "other")])
async def test_a_request_goes_to_the_application_of_exactly_its_path(path: str, answered_by: str) -> None:
    called: list[str] = []

    def application(name: str) -> Any:
        async def call(*_arguments: Any) -> None:
            called.append(name)

        return call

    async def nothing(*_arguments: Any) -> Any: ...

    await ByPath({"/a": application("a")}, application("other"))({"path": path}, nothing, nothing)
    assert called == [answered_by]


async def test_a_socket_on_another_path_is_refused() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await refuse_socket({"path": "/nowhere"}, receive, send)
    assert sent == [{"type": "websocket.close"}]
