"""Many commands parked at once."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from cqrs.store.apply import apply, retry_parked
from cqrs.store.database import ALIAS
from cqrs.store.models import ParkedCommand
from tests.support.envelopes import add, id_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])


def test_a_thousand_failures_are_parked_in_a_few_statements(defects: set[str]):
    commands = [add() for _ in range(1000)]
    defects |= {id_of(command) for command in commands}
    with CaptureQueriesContext(
        connections[ALIAS],
    ) as queries:
        apply(commands)
    assert ParkedCommand.objects.count() == 1000
    assert len(queries) < 50


def test_a_hundred_that_fail_again_are_kept_in_a_few_statements_with_their_attempts(
    defects: set[str], clock: list[int]
):
    commands = [add() for _ in range(100)]
    defects |= {id_of(command) for command in commands}
    apply(commands)
    clock[0] += 1000
    with CaptureQueriesContext(connections[ALIAS]) as queries:
        retry_parked()
    assert set(ParkedCommand.objects.values_list("attempts", flat=True)) == {1}
    assert len(queries) < 30
