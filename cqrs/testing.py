"""For tests of code that sends commands."""

import contextlib
from collections.abc import Iterator, Sequence

from cqrs.journal.api import taking_effect
from cqrs.store.apply import apply
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice


@contextlib.contextmanager
def commands_take_effect_at_once() -> Iterator[None]:
    """Within the context, every command that is accepted is applied and settled before its call returns.

    No broker and no other process takes part. Where journal and store are two databases, both have to be open to the
    test: `databases = {"default", "contacts"}` in a TestCase, or as `@pytest.mark.django_db` has it.
    As a fixture for every test:

        @pytest.fixture(autouse=True)
        def at_once():
            with commands_take_effect_at_once():
                yield
    """
    with taking_effect(_apply):
        yield


def _apply(commands: Sequence[Command]) -> Sequence[Notice]:
    notices, deferred = apply(commands)
    if deferred:
        waiting = ", ".join(deferred)
        raise RuntimeError(f"command {waiting} waits for one that was accepted before commands took effect at once")
    return notices
