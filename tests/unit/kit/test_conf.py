"""The kit's settings: defaults, and a sentence for each that is wrong."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from cqrs import conf
from cqrssite.environment import Environment


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"DELAY": -1}, 'CQRS["DELAY"] is wrong: it must be seconds, 0 to 86400 (it is -1)'),
        ({"DELAY": float("nan")}, 'CQRS["DELAY"] is wrong: it must be seconds, 0 to 86400 (it is nan)'),
        ({"DELAY": True}, 'CQRS["DELAY"] is wrong: it must be seconds, 0 to 86400 (it is True)'),
        ({"DELEY": 1}, 'CQRS["DELEY"] is no setting; did you mean DELAY?'),
        ({"STORE": "elsewhere"}, "CQRS[\"STORE\"] is wrong: it must be a name of DATABASES (it is 'elsewhere')"),
        ({"STORE": ["default"]}, "CQRS[\"STORE\"] is wrong: it must be a name of DATABASES (it is ['default'])"),
        ({"JOURNAL_LIMIT": 0}, 'CQRS["JOURNAL_LIMIT"] is wrong: it must be a whole number, 1 or more (it is 0)'),
        (
            {"READER_BIND": "9998"},
            "CQRS[\"READER_BIND\"] is wrong: it must be host:port, for example 127.0.0.1:8080 (it is '9998')",
        ),
        (
            {"ALLOWED_ORIGINS": "https://a.example"},
            "CQRS[\"ALLOWED_ORIGINS\"] is wrong: it must be a list of texts (it is 'https://a.example')",
        ),
        # A secret is not shown.
        ({"READ_TOKEN": 7}, 'CQRS["READ_TOKEN"] is wrong: it must be a text'),
        (
            {"KEEP_COMMANDS_DAYS": 90},
            'CQRS["KEEP_NOTICES_DAYS"] is wrong: it must be more than KEEP_COMMANDS_DAYS, which is 90',
        ),
    ],
)
def test_a_wrong_setting_is_named_in_a_sentence_before_a_command_begins(
    given: dict[str, object], sentence: str, settings: Any
) -> None:
    settings.CQRS = given
    with pytest.raises(ImproperlyConfigured) as raised:
        conf.current()
    assert str(raised.value) == sentence
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert sentence in str(refused.value)


def test_without_settings_both_databases_are_the_default_one(settings: Any) -> None:
    settings.CQRS = {}
    assert (conf.current().journal, conf.current().store, conf.current().delay) == ("default", "default", 3.0)


def test_an_address_is_that_of_the_bind_unless_it_is_given(settings: Any) -> None:
    settings.CQRS = {"READER_BIND": "0.0.0.0:7000", "BROKER_ADDRESS": "broker.example.org:1883"}
    own = conf.current()
    assert own.reader_address == "127.0.0.1:7000"
    assert own.broker_address == "broker.example.org:1883"
    assert own.database_read_address == own.database_write_address == "127.0.0.1:8888"


def test_the_defaults_are_those_of_the_environment() -> None:
    kit = {name.lower(): conf.default(name) for name in conf.NAMES if name not in ("JOURNAL", "STORE", "SETTING_NAMES")}
    site = {name: Environment.model_fields[name].default for name in kit}
    assert kit == site | {"allowed_origins": tuple(site["allowed_origins"])}
