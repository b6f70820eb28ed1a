"""How a management command runs a service."""

from collections.abc import Coroutine

from django.core.management.base import CommandError

from cqrs import conf
from cqrs.transport.addresses import CannotListen
from cqrs.transport.process import StartError, run


def run_service(main: Coroutine[None, None, None], bind: str = "") -> None:
    """Runs a service to its end. bind: the setting that says where it listens.

    Raises CommandError with one sentence when it cannot start.
    """
    try:
        run(main)
    except CannotListen as error:
        raise CommandError(f"{error}; {conf.called(bind)} says where") from None
    except StartError as error:
        raise CommandError(str(error)) from error
