"""What the tests of engines share."""

import pytest
from django.db import connections

from cqrs.engines import Engine, engine_of
from cqrs.store.database import ALIAS


@pytest.fixture
def engine() -> Engine:
    """The store's engine."""
    return engine_of(ALIAS)


@pytest.fixture
def _postgresql() -> None:
    if connections[ALIAS].vendor != "postgresql":
        pytest.skip("speaks of PostgreSQL alone: pytest --engine postgresql")
