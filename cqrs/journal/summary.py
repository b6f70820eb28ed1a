"""A command's arguments in one line, for people."""

from google.protobuf.message import DecodeError

from cqrs.aggregate import registry, verb_of


def summary(kind: str, body: bytes) -> str:
    """By the aggregate's own summary where the arguments are a state message, else one after the other."""
    verb = verb_of(kind)
    if verb is None:
        return ""
    aggregate = registry()[verb.aggregate]
    try:
        message = verb.body.FromString(body)
    except DecodeError:
        return "(malformed)"
    if isinstance(message, aggregate.state):
        return aggregate.summary(message)
    return ", ".join(str(getattr(message, argument)) for argument in aggregate.arguments(verb))
