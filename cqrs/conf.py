"""The kit's settings: `CQRS = {...}` among Django's, a value for each name of `Settings` in capitals; read here alone.

    CQRS = {"DELAY": 1, "STORE": "notes"}

The parts of the kit get what they need of it by constructor.
"""

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

# Gateway processes of one machine. More than one a core is of no use.
MAX_GATEWAYS = 64

# Of a value: whether it will do.
Accepts: TypeAlias = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_address(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    host, colon, port = value.rpartition(":")
    return bool(colon and host and port.isdecimal() and int(port) <= 65535)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_alias(value: Any) -> bool:
    return isinstance(value, str) and value in settings.DATABASES


def _setting(default: Any, accepts: Accepts, must_be: str) -> Any:
    return field(default=default, metadata={"accepts": accepts, "must_be": must_be})


def _alias() -> Any:
    return _setting("default", _is_alias, "must be a name of DATABASES")


def _text() -> Any:
    return _setting("", lambda value: isinstance(value, str), "must be a text")


def _count(default: int) -> Any:
    return _setting(default, _is_count, "must be a whole number, 1 or more")


def _days(default: float) -> Any:
    return _setting(
        default, lambda days: _is_number(days) and 0 < days <= 36500, "must be days, over 0 and up to 36500"
    )


def _bind(default: str) -> Any:
    return _setting(default, _is_address, "must be host:port, for example 127.0.0.1:8080")


def _address() -> Any:
    return _setting("", lambda value: value == "" or _is_address(value), "must be host:port, or empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. An address that is empty is where this machine reaches the part that listens at its bind."""

    # Names of DATABASES: of the journal, and of notices and aggregates. They may be one.
    journal: str = _alias()
    store: str = _alias()

    # Seconds from acceptance to commit, the same for all processes.
    delay: float = _setting(3.0, lambda value: _is_number(value) and 0 <= value <= 86400, "must be seconds, 0 to 86400")
    # Commands that may be unsettled; commands that the writer holds.
    journal_limit: int = _count(200_000)
    writer_limit: int = _count(200_000)
    # Idempotency keys hold as long as commands are kept. Notices outlive them, so that a command sent again is known.
    keep_commands_days: float = _days(30)
    keep_notices_days: float = _days(90)

    gateways: int = _setting(
        1, lambda value: _is_count(value) and value <= MAX_GATEWAYS, f"must be a whole number, 1 to {MAX_GATEWAYS}"
    )
    gateway_bind: str = _bind("127.0.0.1:8080")
    reader_bind: str = _bind("127.0.0.1:9998")
    database_bind: str = _bind("127.0.0.1:8888")
    broker_bind: str = _bind("127.0.0.1:1883")
    reader_address: str = _address()
    database_read_address: str = _address()
    database_write_address: str = _address()
    broker_address: str = _address()

    # Origins besides its own whose pages may use the gateway; the hosts it answers to are Django's ALLOWED_HOSTS.
    allowed_origins: Sequence[str] = _setting((), _is_texts, "must be a list of texts")

    read_token: str = _text()
    write_token: str = _text()
    mqtt_username: str = _text()
    mqtt_password: str = _text()

    # One command a message, on a contract's topics, never sent again on silence: for writers that are not the kit's.
    single_messages: bool = _setting(False, lambda value: isinstance(value, bool), "must be True or False")

    # What messages to people call a setting, with {} for its name; empty: CQRS["{}"].
    setting_names: str = _text()


# By their names in CQRS.
_FIELDS = {each.name.upper(): each for each in dataclasses.fields(Settings)}
NAMES: tuple[str, ...] = tuple(_FIELDS)
_REACHED_AT = {
    "reader_address": "reader_bind",
    "database_read_address": "database_bind",
    "database_write_address": "database_bind",
    "broker_address": "broker_bind",
}


def default(name: str) -> Any:
    """What a setting is when nothing is said of it."""
    return _FIELDS[name].default


def called(name: str) -> str:
    """What messages call a setting: "gateway_bind" is CQRS["GATEWAY_BIND"], one of Django's own is called as it is."""
    name = name.upper()
    return (current().setting_names or ('CQRS["{}"]' if name in _FIELDS else "{}")).format(name)


def errors(given: Mapping[str, Any]) -> Iterable[str]:
    """A sentence for each name that is no setting and each value that will not do."""
    for name, value in given.items():
        known = _FIELDS.get(name)
        if known is None:
            close = difflib.get_close_matches(name, _FIELDS, n=1)
            yield f'CQRS["{name}"] is no setting{f"; did you mean {close[0]}?" if close else ""}'
        elif not known.metadata["accepts"](value):
            shown = "" if "TOKEN" in name or "PASSWORD" in name else f" (it is {value!r})"
            yield f'CQRS["{name}"] is wrong: it {known.metadata["must_be"]}{shown}'
    commands, notices = (given.get(name, default(name)) for name in ("KEEP_COMMANDS_DAYS", "KEEP_NOTICES_DAYS"))
    if _is_number(commands) and _is_number(notices) and notices <= commands:
        yield f'CQRS["KEEP_NOTICES_DAYS"] is wrong: it must be more than KEEP_COMMANDS_DAYS, which is {commands:g}'


@functools.cache
def current() -> Settings:
    """The settings of this process; raises ImproperlyConfigured with a sentence for each that is wrong."""
    given = _given()
    if wrong := list(errors(given)):
        raise ImproperlyConfigured("\n".join(wrong))
    made = Settings(**{name.lower(): value for name, value in given.items()})
    reached: dict[str, Any] = {
        address: _reachable(getattr(made, bind)) for address, bind in _REACHED_AT.items() if not getattr(made, address)
    }
    return dataclasses.replace(made, **reached)


def check(**_: Any) -> list[CheckMessage]:
    """Django's check of the settings: each management command says what is wrong before it begins."""
    return [Error(sentence, id="cqrs.E001") for sentence in errors(_given())]


def _given() -> Mapping[str, Any]:
    given = getattr(settings, "CQRS", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"CQRS is wrong: it must be a dict (it is {given!r})")
    return given


def _reachable(bind: str) -> str:
    """Where this machine reaches what listens at `bind`."""
    host, _, port = bind.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("CQRS", "DATABASES"):
        current.cache_clear()


# For tests, which override settings.
setting_changed.connect(_forget, dispatch_uid="cqrs.conf")
