"""The kit's models, where Django looks for them."""

from cqrs.journal.models import Command, TrackedHistory
from cqrs.store.models import DatabaseIdentity, Notice, ParkedCommand, Undecodable

__all__ = ["Command", "DatabaseIdentity", "Notice", "ParkedCommand", "TrackedHistory", "Undecodable"]
