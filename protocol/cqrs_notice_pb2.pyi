import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Notice(_message.Message):
    __slots__ = ("position", "number", "kind", "command_id", "aggregate_id", "state", "message", "reason", "committed_at", "actor", "command_kind", "aggregate", "version")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[Notice.Kind]
        ADDED: _ClassVar[Notice.Kind]
        UPDATED: _ClassVar[Notice.Kind]
        DELETED: _ClassVar[Notice.Kind]
        REJECTED: _ClassVar[Notice.Kind]
        CANCELLED: _ClassVar[Notice.Kind]
        PARKED: _ClassVar[Notice.Kind]
        DISCARDED: _ClassVar[Notice.Kind]
    UNKNOWN: Notice.Kind
    ADDED: Notice.Kind
    UPDATED: Notice.Kind
    DELETED: Notice.Kind
    REJECTED: Notice.Kind
    CANCELLED: Notice.Kind
    PARKED: Notice.Kind
    DISCARDED: Notice.Kind
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[Notice.Reason]
        NOT_FOUND: _ClassVar[Notice.Reason]
        CONFLICT: _ClassVar[Notice.Reason]
        INVALID: _ClassVar[Notice.Reason]
    NONE: Notice.Reason
    NOT_FOUND: Notice.Reason
    CONFLICT: Notice.Reason
    INVALID: Notice.Reason
    POSITION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    COMMAND_KIND_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    position: str
    number: int
    kind: Notice.Kind
    command_id: str
    aggregate_id: str
    state: bytes
    message: str
    reason: Notice.Reason
    committed_at: _timestamp_pb2.Timestamp
    actor: str
    command_kind: str
    aggregate: str
    version: int
    def __init__(self, position: _Optional[str] = ..., number: _Optional[int] = ..., kind: _Optional[_Union[Notice.Kind, str]] = ..., command_id: _Optional[str] = ..., aggregate_id: _Optional[str] = ..., state: _Optional[bytes] = ..., message: _Optional[str] = ..., reason: _Optional[_Union[Notice.Reason, str]] = ..., committed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., command_kind: _Optional[str] = ..., aggregate: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class NoticeBatch(_message.Message):
    __slots__ = ("notice", "head", "database", "memory")
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    notice: _containers.RepeatedCompositeFieldContainer[Notice]
    head: str
    database: str
    memory: bool
    def __init__(self, notice: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., head: _Optional[str] = ..., database: _Optional[str] = ..., memory: _Optional[bool] = ...) -> None: ...
