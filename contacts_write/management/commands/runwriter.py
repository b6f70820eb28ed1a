"""`manage.py runwriter`: the writer."""

from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from contacts_write.go_contract import GoTopics
from contacts_write.go_database import GoDatabase
from contacts_write.management import arguments
from cqrs.transport.mqtt import MqttLink
from cqrs.transport.process import run, stop_signal
from cqrs.writer.apply_client import WriteClient
from cqrs.writer.writer import Writer


class Command(BaseCommand):
    help = "Brings commands from the broker to the database service when their delay has passed."

    def add_arguments(self, parser: CommandParser) -> None:
        own = settings.CONTACTS
        parser.add_argument("--delay", type=arguments.delay, default=own.delay, help="seconds (default: %(default)s)")
        for option, default in (("--database", own.database_write_address), ("--broker", own.broker_address)):
            parser.add_argument(
                option, type=arguments.address, default=default, help="host:port (default: %(default)s)"
            )

    def handle(self, *args: Any, delay: float, database: str, broker: str, **options: Any) -> None:
        own = settings.CONTACTS
        client = WriteClient(database, token=own.write_token, contract=GoDatabase(own.writer_limit))
        connect = partial(
            MqttLink, broker, name="contacts-writer", username=own.mqtt_username, password=own.mqtt_password
        )
        run(Writer(client, connect, GoTopics(), delay=delay, limit=own.writer_limit).run(stop_signal()))
