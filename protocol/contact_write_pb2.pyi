import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from protocol import contact_pb2 as _contact_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("add", "update", "delete")
    ADD_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    add: _contact_pb2.Contact
    update: _contact_pb2.Contact
    delete: _contact_pb2.ContactReference
    def __init__(self, add: _Optional[_Union[_contact_pb2.Contact, _Mapping]] = ..., update: _Optional[_Union[_contact_pb2.Contact, _Mapping]] = ..., delete: _Optional[_Union[_contact_pb2.ContactReference, _Mapping]] = ...) -> None: ...

class CommandBatch(_message.Message):
    __slots__ = ("command",)
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    command: _containers.RepeatedCompositeFieldContainer[Command]
    def __init__(self, command: _Optional[_Iterable[_Union[Command, _Mapping]]] = ...) -> None: ...

class ApplyReply(_message.Message):
    __slots__ = ("left",)
    LEFT_FIELD_NUMBER: _ClassVar[int]
    left: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, left: _Optional[_Iterable[str]] = ...) -> None: ...

class Undecodable(_message.Message):
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

class UndecodableBatch(_message.Message):
    __slots__ = ("undecodable",)
    UNDECODABLE_FIELD_NUMBER: _ClassVar[int]
    undecodable: _containers.RepeatedCompositeFieldContainer[Undecodable]
    def __init__(self, undecodable: _Optional[_Iterable[_Union[Undecodable, _Mapping]]] = ...) -> None: ...
