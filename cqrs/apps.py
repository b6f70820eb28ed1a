from django.apps import AppConfig
from django.core import checks

from cqrs import conf


class CqrsConfig(AppConfig):
    name = "cqrs"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Commands and notices"

    def ready(self) -> None:
        # A check alone: it names wrong settings before any management command begins.
        checks.register(conf.check)
