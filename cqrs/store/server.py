"""The database service: its read side, its write side or both, on the store's database."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from cqrs.store.services import StoreServices
from cqrs.transport.addresses import split_address
from cqrs.transport.grpc_server import grpc_server
from cqrs.transport.process import stop_signal


class DatabaseServer:
    """Serves StoreServices on `bind` ("host:port"; port 0: a free one). settings: those of StoreServices."""

    def __init__(
        self, bind: str, serve: str = "all", *, read_token: str = "", write_token: str = "", **settings: Any
    ) -> None:
        self._bind = bind
        self._store = StoreServices(serve, **settings)
        self._tokens = {each.name: read_token if each.side == "read" else write_token for each in self._store.services}

    async def run(self, notify: Callable[[str], object]) -> None:
        """Serves until SIGTERM or SIGINT; names the services in one line once they are up. Raises StartError."""
        async with self.serving() as port:
            host, _ = split_address(self._bind)
            notify(f"serving {_listed([*self._tokens])} on {host}:{port}, rows kept in {self._store.place}")
            await stop_signal()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serves within the context, and yields the port. Raises StartError.

        A task that dies by a defect ends the context with its error, after a CRITICAL line in the log.
        """
        # Calls end before the tasks do: they wait for these.
        async with (
            self._store.working(),
            grpc_server(
                self._bind, self._store.register, tokens=self._tokens, before_stop=self._store.end_streams
            ) as port,
        ):
            yield port


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
