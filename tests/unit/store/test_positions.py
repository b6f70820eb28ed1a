"""Positions in the history of notices."""

import pytest

from cqrs.store.errors import PositionInvalid
from cqrs.store.positions import BEGINNING, number_of, position_of

NOTICE = ("a-database", 7, "a-command", 1_764_000_000_000)


def test_a_position_says_its_number():
    assert number_of(position_of(*NOTICE)) == 7
    assert number_of(BEGINNING) == 0


def test_positions_are_those_that_clients_have_kept():
    assert position_of(*NOTICE) == "7.123d7952e1a9"


@pytest.mark.parametrize("part", range(4))
def test_another_notice_or_database_has_another_position(part: int):
    others = ("b-database", 8, "b-command", 1_764_000_000_001)
    other = (*NOTICE[:part], others[part], *NOTICE[part + 1 :])
    assert position_of(*other) != position_of(*NOTICE)


@pytest.mark.parametrize(
    "position",
    [
        "",
        "7",
        "-1.000000000000",
        "07.000000000000",
        "7.00000000000g",
        "7.0000",
        "0.000000000000",
        "7.000000000000\n",
        "x",
        "9" * 19 + ".000000000000",
        "７.000000000000",
    ],
)
def test_what_is_no_position_is_refused(position: str):
    with pytest.raises(PositionInvalid, match="no position"):
        number_of(position)
