from datetime import UTC, datetime

from cqrs.journal.cursor import Cursor
from cqrs.journal.record import Record
from tests.support import envelopes as commands

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def records(*numbers: int) -> list[Record]:
    return [Record(number, commands.delete("c1"), MOMENT, MOMENT, "gateway-1") for number in numbers]


def numbers(found: list[Record]) -> list[int]:
    return [record.number for record in found]


def read_up(cursor: Cursor, *found: int) -> None:
    cursor.end_reading(cursor.begin_reading(), records(*found), is_all=True)


def test_it_begins_behind_and_nothing_is_known_to_be_sent() -> None:
    cursor = Cursor()
    assert (cursor.behind, cursor.unsent, len(cursor)) == (True, 1, 0)
    read_up(cursor)
    assert (cursor.behind, cursor.unsent) == (False, 0)


def test_rows_are_taken_in_order_and_move_it_on() -> None:
    cursor = Cursor()
    read_up(cursor)
    cursor.add(records(1, 2, 3))
    assert cursor.has_yet_to_send(1)
    assert numbers(cursor.take(2)) == [1, 2]
    assert (cursor.position, cursor.unsent) == (2, 1)
    assert not cursor.has_yet_to_send(2)
    assert cursor.has_yet_to_send(3)
    assert not cursor.has_yet_to_send(4)


def test_rows_that_were_read_before_they_are_added_are_taken_once() -> None:
    cursor = Cursor()
    read_up(cursor, 1, 2)
    cursor.add(records(2, 3))
    assert numbers(cursor.take(10)) == [1, 2, 3]
    cursor.add(records(3))
    assert len(cursor) == 0


def test_more_than_fits_is_left_to_be_read() -> None:
    cursor = Cursor(max_tail=2)
    read_up(cursor)
    cursor.add(records(1, 2))
    cursor.add(records(3))
    assert (cursor.behind, len(cursor), cursor.unsent) == (True, 2, 3)
    cursor.take(2)
    read_up(cursor, 3)
    assert (cursor.behind, numbers(cursor.take(1))) == (False, [3])


def test_what_is_added_during_a_reading_is_read_next() -> None:
    cursor = Cursor()
    begun = cursor.begin_reading()
    cursor.add(records(3))
    cursor.end_reading(begun, records(1, 2), is_all=True)
    assert cursor.behind
    assert numbers(cursor.take(5)) == [1, 2]


def test_a_reading_from_before_it_went_back_is_dropped() -> None:
    cursor = Cursor()
    read_up(cursor, 1, 2)
    cursor.take(2)
    begun = cursor.begin_reading()
    cursor.go_back(0)
    cursor.end_reading(begun, records(3), is_all=True)
    assert (cursor.behind, len(cursor)) == (True, 0)


def test_rows_that_were_sent_beside_are_left_out_and_then_forgotten() -> None:
    cursor = Cursor()
    read_up(cursor)
    cursor.add(records(1, 2, 3))
    cursor.note_sent_beside({2})
    assert numbers(cursor.take(3)) == [1, 3]
    assert cursor._sent_beside == set()
    cursor.add(records(4))
    cursor.note_sent_beside({1, 2})
    assert cursor._sent_beside == set(), "they will not come again"


def test_it_goes_back_before_the_first_of_those_to_be_sent_again() -> None:
    cursor = Cursor()
    read_up(cursor, 1, 2, 3)
    cursor.take(3)
    cursor.go_back_before([3, 2])
    assert (cursor.position, cursor.head, cursor.behind) == (1, 3, True)
    cursor.go_back_before([9])
    assert (cursor.position, cursor.head) == (1, 9)
