"""The cache of documents."""

import pytest
from graphql import get_introspection_query

from cqrssite.graphql.engine.documents import Documents
from cqrssite.graphql.engine.errors import RequestRefused
from cqrssite.graphql.schema import schema


def documents(**limits: int) -> Documents:
    return Documents(schema.graphql_schema, **limits)


def test_a_document_is_parsed_and_validated_once() -> None:
    cache = documents()
    assert cache.get("{ __typename }")[0] is cache.get("{ __typename }")[0]


def test_introspection_is_answered() -> None:
    documents().get(get_introspection_query(input_value_deprecation=True, specified_by_url=True))


def test_what_is_refused_takes_no_room() -> None:
    cache = documents()
    for source in ("{", "{ nobody }"):
        with pytest.raises(RequestRefused):
            cache.get(source)
    assert len(cache) == 0


def test_the_document_unused_for_longest_makes_room() -> None:
    cache = documents(documents=2)
    (first, _), (second, _) = cache.get("{ a: __typename }"), cache.get("{ b: __typename }")
    assert cache.get("{ a: __typename }")[0] is first
    cache.get("{ c: __typename }")
    assert len(cache) == 2
    assert cache.get("{ a: __typename }")[0] is first
    assert cache.get("{ b: __typename }")[0] is not second


def test_the_characters_of_all_documents_are_bounded() -> None:
    cache = documents(characters=40)
    cache.get("{ a: __typename }")
    cache.get("{ b: __typename }")
    assert len(cache) == 2
    cache.get("{ c: __typename }")
    assert len(cache) == 2
