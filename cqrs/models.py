"""The kit's models, where Django looks for them."""

from cqrs.journal.models import Command, FollowedDatabase
from cqrs.journal.write_check import WriteCheck
from cqrs.store.models import DatabaseIdentity, Notice, ParkedCommand, Undecodable

__all__ = ["Command", "DatabaseIdentity", "FollowedDatabase", "Notice", "ParkedCommand", "Undecodable", "WriteCheck"]
