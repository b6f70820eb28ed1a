"""The context of a resolver: the services, the actor, and how much the operation may still list."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, Self

from django.conf import settings

from cqrs import conf
from cqrs.journal.journal import Journal
from cqrs.query.client import ReadClient
from cqrs.query.feed import NoticeFeed
from cqrssite.graphql.errors import BadInput

MAX_VALUES = 50_000
"""Values that the lists of one operation may hold together: rows times fields."""
MAX_LISTED = 10_000
"""Aggregates that one operation may list, all of its lists together."""


class WebSettings(NamedTuple):
    """Which hosts and origins are served, and the delay of commands, in seconds."""

    allowed_hosts: Sequence[str]
    allowed_origins: Sequence[str]
    delay: float

    @classmethod
    def current(cls) -> Self:
        """As the project's settings are; in debug mode this machine is served, as Django has it."""
        own = conf.current()
        local = [".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else []
        return cls(settings.ALLOWED_HOSTS or local, own.allowed_origins, own.delay)


class Services(Protocol):
    """The part of the gateway that the schema needs."""

    @property
    def reader(self) -> ReadClient: ...

    @property
    def feed(self) -> NoticeFeed: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def foreign_writer(self) -> bool:
        """Whether a writer that is not ours decides when a command takes effect."""
        ...


class Context:
    """One operation's context."""

    def __init__(
        self,
        gateway: Callable[[], Services],
        find_actor: Callable[[], Awaitable[str]],
        *,
        settle_seconds: float,
        width: Callable[[], int] = lambda: 1,
    ) -> None:
        """width: the fields of a row, of the widest list that the operation asks for."""
        self._width = width
        self._gateway = gateway
        self._find_actor = find_actor
        self._actor: str | None = None
        self._listed = 0
        self.settle_seconds = settle_seconds
        """How long `afterCommand` waits at most, in seconds."""

    @property
    def services(self) -> Services:
        """The gateway's clients. Raises GatewayNotOpen before it started and after it stopped."""
        return self._gateway()

    async def actor(self) -> str:
        """The user who asks, looked up when first needed; empty: nobody is logged in."""
        if self._actor is None:
            self._actor = await self._find_actor()
        return self._actor

    def spend(self, count: int, what: str) -> None:
        """Notes that `count` of `what` are to be listed. Raises BadInput when that is more than one operation may."""
        self._listed += count
        if self._listed > MAX_LISTED:
            raise BadInput(f"one operation may list at most {MAX_LISTED} {what}")
        if self._listed * (width := self._width()) > MAX_VALUES:
            raise BadInput(
                f"one operation may list at most {MAX_VALUES} values: these are {width} fields of {self._listed} {what}"
            )


def settle_seconds(delay: float) -> float:
    """How long `afterCommand` waits at most where commands take effect after `delay` seconds: long enough, yet 15 s."""
    return min(delay + 5, 15.0)
