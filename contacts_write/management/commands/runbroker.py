"""`manage.py runbroker`: the kit's embedded MQTT broker, as it is."""

from cqrs.management.commands.runbroker import Command

__all__ = ["Command"]
