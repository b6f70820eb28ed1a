from protocol import contact_pb2 as _contact_pb2
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
