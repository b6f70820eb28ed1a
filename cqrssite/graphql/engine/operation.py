"""An operation that can be executed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    OperationDefinitionNode,
    OperationType,
)

from cqrssite.graphql.engine.documents import Document
from cqrssite.graphql.engine.literals import Literal
from cqrssite.graphql.engine.reading import parsed


class Operation(NamedTuple):
    """A request whose document is valid and whose operation is determined."""

    document: Document
    node: OperationDefinitionNode
    source: str
    literals: Sequence[Literal]
    """What was lifted out of the source; with none, the document's tree is that of the source."""
    name: str | None
    variables: dict[str, Any] | None

    @property
    def kind(self) -> OperationType:
        return self.node.operation

    def width(self) -> int:
        """The fields of a row, of the widest list that is asked for."""
        return max(self.document.widths(self.node).values(), default=1)

    def ast(self) -> DocumentNode:
        """The tree of this very source."""
        return parsed(self.source) if self.literals else self.document.ast
