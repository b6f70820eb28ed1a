"""Rules, ids, addresses, pauses and the freshness of the stubs."""

import asyncio
import logging
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cqrs.transport.addresses import split_address
from cqrs.transport.backoff import Backoff, keep
from protocol import generate, ids, rules


@pytest.mark.parametrize("name", ["a", "Zoë Ångström", "名前", "x" * 200, "👩‍👩‍👧", "a  b"])
def test_a_printable_name_of_up_to_200_characters_is_a_name(name):
    assert rules.name_error(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "name must not be empty"),
        ("   ", "name must not be empty"),
        ("x" * 201, "name must be at most 200 characters, not 201"),
        ("a\nb", "name must not contain the control character U+000A"),
        ("a\x00", "name must not contain the control character U+0000"),
        ("a\ud800", "name must not contain the control character U+D800"),
    ],
)
def test_what_is_no_name_is_refused_with_a_sentence(name, why):
    assert rules.name_error(name) == why


@given(st.text(max_size=250))
def test_a_name_that_passes_can_be_sent(name):
    if rules.name_error(name) is None:
        assert name.encode()


@pytest.mark.parametrize("value", ["a", "0", "0190a5b2-7c1e-7def-8a3b-2f4c6d8e0a1b", "a.b_c:d-e", "x" * 100])
def test_letters_digits_and_some_signs_make_an_id(value):
    assert rules.id_error(value) is None


@pytest.mark.parametrize("value", ["", "-a", "a b", "a\n", "ä", "x" * 101, "a/b", "a\x00"])
def test_what_is_no_id_is_refused_with_a_sentence_that_names_it(value):
    assert rules.id_error(value, "contact id").startswith("contact id must ")


def test_counts_are_bounded():
    assert rules.count_error(0) is None
    assert rules.count_error(1000) is None
    assert rules.count_error(-1) == "count must be 0 to 1000, not -1"
    assert rules.count_error(1001) == "count must be 0 to 1000, not 1001"


def test_ids_that_are_minted_pass_the_rules_and_sort_by_time():
    minted = [ids.new_command_id() for _ in range(1000)]
    assert minted == sorted(minted)
    assert len(set(minted)) == 1000
    assert all(rules.id_error(value) is None for value in minted)
    assert uuid.UUID(minted[0]).version == 7


def test_the_contact_of_an_add_command_is_the_same_for_ever():
    """Written down: another answer would add the contact of a repeated command a second time."""
    assert ids.aggregate_id_of("0199f2a0-0000-7000-8000-000000000001") == "0199f2a0-0000-83e1-b33e-dba40b38b139"
    assert ids.aggregate_id_of("order-17") == "8d2af13e-9a7f-515b-a31c-e24de36ae421"


def test_contacts_whose_commands_have_a_time_sort_by_it_too():
    minted = [ids.new_command_id() for _ in range(1000)]
    contacts = [ids.aggregate_id_of(command_id) for command_id in minted]
    assert [contact[:13] for contact in contacts] == [command_id[:13] for command_id in minted]
    assert len(set(contacts)) == 1000
    assert {(uuid.UUID(contact).version, uuid.UUID(contact).variant) for contact in contacts} == {(8, uuid.RFC_4122)}


@pytest.mark.parametrize(
    "command_id",
    [
        "7" * 36,
        "0199F2A0-0000-7000-8000-000000000001",
        "0199f2a0-0000-4000-8000-000000000001",
        f"{'x' * 14}7{'x' * 21}",
    ],
)
def test_the_contact_of_any_other_command_is_a_uuid_5(command_id: str):
    assert uuid.UUID(ids.aggregate_id_of(command_id)).version == 5


def test_pauses_double_to_the_most_cut_by_up_to_half_and_begin_anew_after_a_reset():
    backoff = Backoff(first=0.1, most=2.0)
    for full in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert full / 2 <= backoff.next() <= full
    backoff.reset()
    assert 0.05 <= backoff.next() <= 0.1


def test_pauses_are_spread_out():
    backoff = Backoff(first=1.0, most=1.0)
    assert len({backoff.next() for _ in range(10)}) > 1


async def test_an_outage_is_said_in_one_line_when_it_begins_and_in_one_when_it_ends(caplog):
    caplog.set_level(logging.INFO)
    calls = 0
    is_up = asyncio.Event()

    async def session(connected):
        nonlocal calls
        calls += 1
        if calls == 4:
            connected()
            is_up.set()
            await asyncio.Event().wait()
        raise ConnectionError("refused")

    kept = asyncio.create_task(keep(session, what="the broker", errors=(ConnectionError,), first=0.001, most=0.002))
    async with asyncio.timeout(10):
        await is_up.wait()
    kept.cancel()
    assert [record.message for record in caplog.records] == [
        "waiting for the broker: refused",
        "connected to the broker",
    ]


async def test_an_error_that_is_not_an_outage_ends_the_keeping():
    async def session(connected):
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        await keep(session, what="the broker", errors=(ConnectionError,))


@pytest.mark.parametrize(("address", "parts"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0))])
def test_an_address_is_split_into_host_and_port(address, parts):
    assert split_address(address) == parts


def test_the_committed_stubs_are_fresh():
    assert generate.stale_stubs() == []
