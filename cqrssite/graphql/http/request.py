"""JSON → a GraphQL request, the same over HTTP and over WebSocket."""

from typing import Any

from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.errors import BadInput


def read_request(parameters: Any) -> GraphQLRequest:
    """Reads a request from a JSON value; unknown keys are ignored. Raises BadInput."""
    if not isinstance(parameters, dict):
        raise BadInput("a GraphQL request must be a JSON object" + _hint(parameters))
    query = parameters.get("query")
    if not isinstance(query, str):
        raise BadInput("query must be a string" if "query" in parameters else "query is missing")
    variables = parameters.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise BadInput("variables must be an object")
    operation_name = parameters.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise BadInput("operationName must be a string")
    extensions = parameters.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadInput("extensions must be an object")
    return GraphQLRequest(query, variables, operation_name or None, extensions)


def _hint(parameters: Any) -> str:
    if isinstance(parameters, list):
        return ", not a list: put several operations into one document, under aliases"
    return ""
