from protocol import contact_pb2 as _contact_pb2
from protocol import notice_pb2 as _notice_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListContactsFilter(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ContactRequestResponse(_message.Message):
    __slots__ = ("response", "contact")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    response: _contact_pb2.RequestResponse
    contact: _contact_pb2.Contact
    def __init__(self, response: _Optional[_Union[_contact_pb2.RequestResponse, _Mapping]] = ..., contact: _Optional[_Union[_contact_pb2.Contact, _Mapping]] = ...) -> None: ...

class ContactArrayRequestResponse(_message.Message):
    __slots__ = ("response", "contact")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    response: _contact_pb2.RequestResponse
    contact: _containers.RepeatedCompositeFieldContainer[_contact_pb2.Contact]
    def __init__(self, response: _Optional[_Union[_contact_pb2.RequestResponse, _Mapping]] = ..., contact: _Optional[_Iterable[_Union[_contact_pb2.Contact, _Mapping]]] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("contact_id", "list_count")
    CONTACT_ID_FIELD_NUMBER: _ClassVar[int]
    LIST_COUNT_FIELD_NUMBER: _ClassVar[int]
    contact_id: _containers.RepeatedScalarFieldContainer[str]
    list_count: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, contact_id: _Optional[_Iterable[str]] = ..., list_count: _Optional[_Iterable[int]] = ...) -> None: ...

class ReadReply(_message.Message):
    __slots__ = ("contact", "list")
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    contact: _containers.RepeatedCompositeFieldContainer[ContactRequestResponse]
    list: _containers.RepeatedCompositeFieldContainer[ContactArrayRequestResponse]
    def __init__(self, contact: _Optional[_Iterable[_Union[ContactRequestResponse, _Mapping]]] = ..., list: _Optional[_Iterable[_Union[ContactArrayRequestResponse, _Mapping]]] = ...) -> None: ...

class OutcomesRequest(_message.Message):
    __slots__ = ("command_id",)
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    command_id: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, command_id: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: str
    def __init__(self, after: _Optional[str] = ...) -> None: ...

class NoticesRequest(_message.Message):
    __slots__ = ("after", "limit")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    after: str
    limit: int
    def __init__(self, after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...
