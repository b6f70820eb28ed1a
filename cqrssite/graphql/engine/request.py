"""The four parameters of a GraphQL request, the same over any transport."""

from typing import Any, NamedTuple


class GraphQLRequest(NamedTuple):
    """A well-formed request; its document may still be wrong."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None
    extensions: dict[str, Any] | None
