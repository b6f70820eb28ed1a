"""`manage.py runbroker`: the embedded MQTT broker."""

import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cqrs import conf
from cqrs.management import arguments
from cqrs.management.service import run_service
from cqrs.transport.broker import Broker
from cqrs.transport.process import stop_signal

log = logging.getLogger("cqrs.transport.broker")


class Command(BaseCommand):
    help = "Runs the embedded MQTT broker."

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_address(parser, "--bind", conf.current().broker_bind)

    def handle(self, *_arguments: Any, bind: str, **_options: Any) -> None:
        run_service(self._serve(bind), "broker_bind")

    async def _serve(self, bind: str) -> None:
        own = conf.current()
        async with Broker(bind, username=own.mqtt_username, password=own.mqtt_password) as broker:
            log.info("ready: MQTT on %s", broker.address)
            await stop_signal()
