"""The kit's models, where Django looks for them."""

from cqrs.journal.models import Command, FollowedDatabase
from cqrs.journal.write_check import WriteCheck
from cqrs.store.models import DatabaseIdentity, MalformedMessage, Notice, ParkedCommand

__all__ = [
    "Command",
    "DatabaseIdentity",
    "FollowedDatabase",
    "MalformedMessage",
    "Notice",
    "ParkedCommand",
    "WriteCheck",
]
