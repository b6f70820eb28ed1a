import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from protocol import cqrs_command_pb2 as _cqrs_command_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ApplyReply(_message.Message):
    __slots__ = ("deferred",)
    DEFERRED_FIELD_NUMBER: _ClassVar[int]
    deferred: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, deferred: _Optional[_Iterable[str]] = ...) -> None: ...

class Malformed(_message.Message):
    __slots__ = ("topic", "payload", "reason", "received_at", "size")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    payload: bytes
    reason: str
    received_at: _timestamp_pb2.Timestamp
    size: int
    def __init__(self, topic: _Optional[str] = ..., payload: _Optional[bytes] = ..., reason: _Optional[str] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., size: _Optional[int] = ...) -> None: ...

class MalformedBatch(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: _containers.RepeatedCompositeFieldContainer[Malformed]
    def __init__(self, message: _Optional[_Iterable[_Union[Malformed, _Mapping]]] = ...) -> None: ...

class Recorded(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
