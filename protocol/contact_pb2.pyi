import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from protocol import cqrs_command_pb2 as _cqrs_command_pb2
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
    meta: _cqrs_command_pb2.CommandMeta
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., last_updated: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., meta: _Optional[_Union[_cqrs_command_pb2.CommandMeta, _Mapping]] = ...) -> None: ...

class ContactReference(_message.Message):
    __slots__ = ("id", "meta")
    ID_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    id: str
    meta: _cqrs_command_pb2.CommandMeta
    def __init__(self, id: _Optional[str] = ..., meta: _Optional[_Union[_cqrs_command_pb2.CommandMeta, _Mapping]] = ...) -> None: ...

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
