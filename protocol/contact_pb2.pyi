import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Contact(_message.Message):
    __slots__ = ("id", "name", "last_updated", "version", "meta")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    last_updated: _timestamp_pb2.Timestamp
    version: int
    meta: CommandMeta
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., last_updated: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., meta: _Optional[_Union[CommandMeta, _Mapping]] = ...) -> None: ...

class ContactReference(_message.Message):
    __slots__ = ("id", "meta")
    ID_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    id: str
    meta: CommandMeta
    def __init__(self, id: _Optional[str] = ..., meta: _Optional[_Union[CommandMeta, _Mapping]] = ...) -> None: ...

class CommandMeta(_message.Message):
    __slots__ = ("command_id", "depends_on", "waited_ms", "expected_version", "actor", "cancelled", "operation", "seen")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    WAITED_MS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    depends_on: str
    waited_ms: int
    expected_version: int
    actor: str
    cancelled: bool
    operation: Operation
    seen: str
    def __init__(self, command_id: _Optional[str] = ..., depends_on: _Optional[str] = ..., waited_ms: _Optional[int] = ..., expected_version: _Optional[int] = ..., actor: _Optional[str] = ..., cancelled: _Optional[bool] = ..., operation: _Optional[_Union[Operation, _Mapping]] = ..., seen: _Optional[str] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("kind", "notice", "actor")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[Operation.Kind]
        RETRY: _ClassVar[Operation.Kind]
        AMEND: _ClassVar[Operation.Kind]
        DISCARD: _ClassVar[Operation.Kind]
    NONE: Operation.Kind
    RETRY: Operation.Kind
    AMEND: Operation.Kind
    DISCARD: Operation.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    kind: Operation.Kind
    notice: int
    actor: str
    def __init__(self, kind: _Optional[_Union[Operation.Kind, str]] = ..., notice: _Optional[int] = ..., actor: _Optional[str] = ...) -> None: ...

class RequestResponse(_message.Message):
    __slots__ = ("status", "Message")
    class StatusEnum(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OK: _ClassVar[RequestResponse.StatusEnum]
        ERROR: _ClassVar[RequestResponse.StatusEnum]
    OK: RequestResponse.StatusEnum
    ERROR: RequestResponse.StatusEnum
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    status: RequestResponse.StatusEnum
    Message: str
    def __init__(self, status: _Optional[_Union[RequestResponse.StatusEnum, str]] = ..., Message: _Optional[str] = ...) -> None: ...
