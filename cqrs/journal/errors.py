"""What can go wrong on the command side. Each error's docstring is its message where none is given."""


class CommandError(Exception):
    """The command side failed."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or type(self).__doc__)


class InvalidCommand(CommandError):
    """An argument is no name, id, version or actor."""


class KeyConflict(CommandError):
    """This command id was used before, with other arguments."""


class JournalFull(CommandError):
    """Too many commands are unsettled or waiting: try again later."""


class JournalUnavailable(CommandError):
    """The journal cannot be read or written, so nothing was accepted."""


class UnknownCommand(CommandError):
    """There is no such command in the journal."""


class NotCancellable(CommandError):
    """The command is settled already."""


class NotOperable(CommandError):
    """The command is settled already, or another operator's decision about it is on its way."""


class BrokerAway(CommandError):
    """The broker is not connected, or did not acknowledge in time: the message may or may not have arrived."""
