"""The types of the schema. What they show are protobuf messages and rows of the journal, as they are.

Python names become camelCase in GraphQL; `last_updated` is the contract's own spelling.
"""

from datetime import datetime
from typing import NamedTuple

import graphene

from cqrs.journal import models
from cqrssite.graphql.times import iso, iso_of, ms_until
from protocol import contact_pb2
from protocol.notice_pb2 import Notice


class RequestStatus(graphene.Enum):
    """Whether a request was taken."""

    OK = "OK"
    ERROR = "ERROR"


class NoticeKind(graphene.Enum):
    """What became of a command. DELETED carries the last state of the contact."""

    ADDED = "ADDED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    PARKED = "PARKED"
    DISCARDED = "DISCARDED"


class RejectReason(graphene.Enum):
    """Why a command was rejected."""

    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    INVALID = "INVALID"


class CommandKind(graphene.Enum):
    """What a command does."""

    ADD = "ADD"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class CommandState(graphene.Enum):
    """Where a command is. APPLIED, REJECTED, CANCELLED and DISCARDED are final.

    PARKED waits for an operator. HANDED_OVER was taken by the broker, for parts that do not tell what became of it.
    """

    QUEUED = "QUEUED"
    PARKED = "PARKED"
    APPLIED = "APPLIED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    DISCARDED = "DISCARDED"
    HANDED_OVER = "HANDED_OVER"


class Contact(graphene.ObjectType):
    """A contact as stored."""

    id = graphene.String()
    name = graphene.String(required=True)
    last_updated = graphene.String(name="last_updated", description="When it last changed: ISO 8601, UTC.")
    last_updated_twin = graphene.String(name="lastUpdated", description="The same as last_updated.")
    version = graphene.Int(description="How many commands made it what it is; 1 when it was added.")

    def resolve_last_updated(self: contact_pb2.Contact, _info: object) -> str | None:
        return iso_of(self.last_updated) if self.HasField("last_updated") else None

    def resolve_last_updated_twin(self: contact_pb2.Contact, _info: object) -> str | None:
        return iso_of(self.last_updated) if self.HasField("last_updated") else None

    def resolve_version(self: contact_pb2.Contact, _info: object) -> int | None:
        return self.version or None


class Answer(NamedTuple):
    """What a mutation answers: the command is in the journal."""

    message: str
    command_id: str
    contact_id: str | None
    accepted_at: datetime
    takes_effect_at: datetime | None
    status: str = "OK"


class RequestResponse(graphene.ObjectType):
    """The answer to a mutation: the command is queued, and will take effect unless it is rejected then."""

    status = graphene.Field(RequestStatus, required=True)
    message = graphene.String(required=True)
    command_id = graphene.String(description="Names the command, for command, commandSettled and cancelCommand.")
    contact_id = graphene.String(
        description="The contact it is about; of addContact, the one that will be. Null where a foreign part decides."
    )
    takes_effect_at = graphene.String(description="When it is due: ISO 8601, UTC. Null where a foreign writer decides.")
    takes_effect_in_ms = graphene.Int(
        description="Milliseconds until it is due, at the time of this answer. Null where a foreign writer decides."
    )

    def resolve_takes_effect_at(self: Answer, _info: object) -> str | None:
        return iso(self.takes_effect_at) if self.takes_effect_at else None

    def resolve_takes_effect_in_ms(self: Answer, _info: object) -> int | None:
        if self.takes_effect_at is None:
            return None
        return ms_until(self.takes_effect_at, at_most=self.takes_effect_at - self.accepted_at)


class ContactNotice(graphene.ObjectType):
    """What became of one command, in the order in which that was committed."""

    position = graphene.String(required=True, description="Opaque: give it as afterPosition to go on after this one.")
    kind = graphene.Field(NoticeKind, required=True)
    command_id = graphene.String()
    contact_id = graphene.String(required=True)
    contact = graphene.Field(Contact, description="As committed; when deleted, as it was last.")
    message = graphene.String(required=True)
    reason = graphene.Field(RejectReason, description="Of REJECTED.")
    committed_at = graphene.String(required=True, description="ISO 8601, UTC.")

    def resolve_kind(self: Notice, _info: object) -> str:
        return Notice.Kind.Name(self.kind)

    def resolve_command_id(self: Notice, _info: object) -> str | None:
        return self.command_id or None

    def resolve_contact(self: Notice, _info: object) -> contact_pb2.Contact | None:
        return self.contact if self.HasField("contact") else None

    def resolve_reason(self: Notice, _info: object) -> str | None:
        return Notice.Reason.Name(self.reason) if self.reason else None

    def resolve_committed_at(self: Notice, _info: object) -> str:
        return iso_of(self.committed_at)


class Command(graphene.ObjectType):
    """A command as the journal knows it."""

    id = graphene.String(required=True)
    kind = graphene.Field(CommandKind, required=True)
    contact_id = graphene.String(
        description="Null of an add that was handed over: a foreign database names its contact."
    )
    state = graphene.Field(CommandState, required=True)
    message = graphene.String(required=True, description="What happened, or why not; empty as long as it is queued.")
    reason = graphene.Field(RejectReason, description="Of REJECTED.")
    actor = graphene.String(description="The user who sent it, if one was logged in.")
    accepted_at = graphene.String(required=True, description="ISO 8601, UTC.")
    takes_effect_at = graphene.String(required=True, description="ISO 8601, UTC.")
    settled_at = graphene.String(description="When what became of it was committed: ISO 8601, UTC.")
    version = graphene.Int(description="Of the contact, once applied; of a CONFLICT, the one it has.")

    def resolve_id(self: models.Command, _info: object) -> str:
        return self.command_id

    def resolve_contact_id(self: models.Command, _info: object) -> str | None:
        named_elsewhere = self.kind == models.Command.Kind.ADD and self.state == models.Command.State.HANDED_OVER
        return None if named_elsewhere else self.contact_id

    # A row that was just settled holds Django's choices, one that was read plain strings.

    def resolve_kind(self: models.Command, _info: object) -> str:
        return str(self.kind)

    def resolve_state(self: models.Command, _info: object) -> str:
        return str(self.state)

    def resolve_reason(self: models.Command, _info: object) -> str | None:
        return str(self.reason) if self.reason else None

    def resolve_actor(self: models.Command, _info: object) -> str | None:
        return self.actor or None

    def resolve_accepted_at(self: models.Command, _info: object) -> str:
        return iso(self.accepted_at)

    def resolve_takes_effect_at(self: models.Command, _info: object) -> str:
        return iso(self.takes_effect_at)

    def resolve_settled_at(self: models.Command, _info: object) -> str | None:
        return iso(self.settled_at) if self.settled_at else None
