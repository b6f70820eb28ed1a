"""`manage.py runwriter`: the writer."""

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cqrs import conf
from cqrs.management import arguments
from cqrs.management.service import run_service
from cqrs.transport.codec import Codec, NoContract
from cqrs.transport.mqtt import MqttLink
from cqrs.transport.process import stop_signal
from cqrs.writer.apply_client import Contract, WriteClient
from cqrs.writer.writer import Writer


class Command(BaseCommand):
    help = "Brings commands from the broker to the database service when their delay has passed."
    # How commands alone travel.
    codec: Codec = NoContract()

    def add_arguments(self, parser: CommandParser) -> None:
        own = conf.current()
        parser.add_argument("--delay", type=arguments.delay, default=own.delay, help="seconds (default: %(default)s)")
        arguments.add_address(parser, "--database", own.database_write_address)
        arguments.add_address(parser, "--broker", own.broker_address)

    def handle(self, *_arguments: Any, delay: float, database: str, broker: str, **_options: Any) -> None:
        own = conf.current()
        client = WriteClient(database, token=own.write_token, contract=self.contract())
        link = partial(MqttLink, broker, name="cqrs-writer", username=own.mqtt_username, password=own.mqtt_password)
        run_service(Writer(client, link, self.codec, delay=delay, limit=own.writer_limit).run(stop_signal()))

    def contract(self) -> Contract | None:
        """How commands are applied at a service that lacks the kit's calls; None: they wait for one that has them."""
        return None
