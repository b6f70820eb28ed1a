"""What the database service raises. The docstring is the message."""


class DatabaseServiceError(Exception):
    """The database service cannot answer."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class DatabaseAway(DatabaseServiceError):
    """The database does not answer; nothing was committed."""


class PositionInvalid(DatabaseServiceError):
    """This is no position: it has to be "0" or one that a notice carries."""


class PositionTooOld(DatabaseServiceError):
    """The position is older than the notices that are kept: read afresh and go on from the newest."""


class PositionUnknown(DatabaseServiceError):
    """The position is of another history than this database's: read afresh and go on from the newest."""


class TooManyWatchers(DatabaseServiceError):
    """Too many watch the notices already."""


class InvalidRequest(DatabaseServiceError):
    """The request asks for what it may not."""
