"""The kit's models, where Django looks for them."""

from cqrs.journal.models import Command, TrackedHistory
from cqrs.journal.write_check import WriteCheck
from cqrs.store.models import DatabaseIdentity, MalformedMessage, Notice, ParkedCommand

__all__ = ["Command", "DatabaseIdentity", "MalformedMessage", "Notice", "ParkedCommand", "TrackedHistory", "WriteCheck"]
