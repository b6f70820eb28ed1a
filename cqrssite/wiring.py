"""The gateway of this process, with the contract that the project's apps speak."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from asgiref.sync import sync_to_async
from django.apps import apps

from cqrs import conf
from cqrs.engines import engine_of
from cqrs.gateway import Gateway
from cqrs.query.batch_reader import SingleReads
from cqrs.query.client import ReadClient
from cqrs.ring import Ring
from cqrs.transport.codec import Codec, NoContract
from cqrs.transport.mqtt import MqttLink
from cqrs.transport.process import tune_collector


class GatewayNotOpen(Exception):
    """The gateway is starting or stopping."""


_open: Gateway | None = None


def current() -> Gateway:
    """The gateway of this process; raises GatewayNotOpen before it is opened and after it is closed."""
    if _open is None:
        raise GatewayNotOpen(GatewayNotOpen.__doc__)
    return _open


@contextlib.asynccontextmanager
async def opened(gateway: contextlib.AbstractAsyncContextManager[Gateway]) -> AsyncIterator[Gateway]:
    """Within the context the gateway is the `current` one. Raises StartError when the database is not migrated."""
    global _open
    await sync_to_async(check_migrated)()
    async with gateway as _open:
        tune_collector()
        try:
            yield _open
        finally:
            _open = None


def gateway() -> contextlib.AbstractAsyncContextManager[Gateway]:
    """The gateway by the project's settings: commands go to the broker, reads to the reader."""
    own = conf.current()
    connect = partial(
        MqttLink, own.broker_address, name="cqrs-gateway", username=own.mqtt_username, password=own.mqtt_password
    )
    reader = ReadClient(own.reader_address, token=own.read_token, fallback=fallback())
    return opened(Gateway(own, reader=reader, connect=connect, codec=codec()))


def ring() -> contextlib.AbstractAsyncContextManager[Gateway]:
    """The gateway of a whole ring in this process, by the project's settings."""
    return opened(Ring(conf.current()))


def codec() -> Codec:
    """How commands alone travel: as the Go example's messages, where contacts are installed."""
    if not apps.is_installed("contacts_write"):
        return NoContract()
    from contacts_write.go_contract import GoTopics

    return GoTopics()


def fallback() -> SingleReads | None:
    """How a peer is read that knows nothing but the Go example's contract, where contacts are installed."""
    if not apps.is_installed("contacts_read"):
        return None
    from contacts_read.go_contract import ContractReads

    return ContractReads()


def check_migrated() -> None:
    """Raises StartError when the gateway's database lacks a migration, or is none that the journal can be in."""
    engine_of(conf.current().journal).check("gateway's")
