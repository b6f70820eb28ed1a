from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("meta", "kind", "aggregate_id", "body")
    META_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    meta: CommandMeta
    kind: str
    aggregate_id: str
    body: bytes
    def __init__(self, meta: _Optional[_Union[CommandMeta, _Mapping]] = ..., kind: _Optional[str] = ..., aggregate_id: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class CommandBatch(_message.Message):
    __slots__ = ("command",)
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    command: _containers.RepeatedCompositeFieldContainer[Command]
    def __init__(self, command: _Optional[_Iterable[_Union[Command, _Mapping]]] = ...) -> None: ...

class SerializedBatch(_message.Message):
    __slots__ = ("command",)
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    command: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, command: _Optional[_Iterable[bytes]] = ...) -> None: ...

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
