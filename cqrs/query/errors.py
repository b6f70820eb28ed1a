"""What can go wrong on the read side. Each is raised where it is known; the message is for people."""


class ReadError(Exception):
    """A read failed; root of all errors of this package."""


class InvalidRead(ReadError):
    """What is asked for cannot be."""


class ReaderUnavailable(ReadError):
    """The reader, or the database service behind it, did not answer in time; the same read may succeed later."""


class ExtensionMissing(ReadError):
    """The reader, or the database service behind it, knows only the contract."""


class PositionRefused(ReadError):
    """Notices cannot be read on from this position: read the contacts afresh and watch from now on."""


class PositionTooOld(PositionRefused):
    """Notices right after this position are not kept any more."""


class PositionUnknown(PositionRefused):
    """This position is of another history: the database was reset or restored."""


class PositionInvalid(PositionRefused):
    """This is no position at all."""


class SubscriberTooSlow(ReadError):
    """The subscriber took notices so slowly that the next one left the memory; it can subscribe from its position."""
