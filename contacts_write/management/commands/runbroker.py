"""`manage.py runbroker`: the embedded MQTT broker."""

import logging
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from contacts_write.management import arguments
from cqrs.transport.addresses import CannotListen
from cqrs.transport.broker import Broker
from cqrs.transport.process import run, stop_signal

log = logging.getLogger("cqrs.transport.broker")


class Command(BaseCommand):
    help = "Runs the embedded MQTT broker."

    def add_arguments(self, parser: CommandParser) -> None:
        default = settings.CONTACTS.broker_bind
        parser.add_argument("--bind", type=arguments.address, default=default, help="host:port (default: %(default)s)")

    def handle(self, *args: Any, bind: str, **options: Any) -> None:
        try:
            run(self._serve(bind))
        except CannotListen as error:
            raise CommandError(f"{error}; CONTACTS_BROKER_BIND says where") from None

    async def _serve(self, bind: str) -> None:
        own = settings.CONTACTS
        async with Broker(bind, username=own.mqtt_username, password=own.mqtt_password) as broker:
            log.info("ready: MQTT on %s", broker.address)
            await stop_signal()
