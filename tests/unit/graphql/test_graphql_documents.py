"""The cache of documents."""

import gc
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from graphql import get_introspection_query

from cqrssite.graphql.engine.documents import BYTES_A_CHARACTER, BYTES_A_DOCUMENT, MAX_BYTES, Documents
from cqrssite.graphql.engine.errors import RequestRefused
from cqrssite.graphql.engine.sized_cache import SizedCache
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


def test_the_value_unused_for_longest_makes_room() -> None:
    cache: SizedCache[str] = SizedCache(20)
    cache.keep("a", "first", 10)
    cache.keep("b", "second", 10)
    assert cache.get("a") == "first"
    cache.keep("c", "third", 10)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("first", None, "third")


def test_a_value_that_is_kept_again_counts_once_and_one_over_the_limit_is_not_kept() -> None:
    cache: SizedCache[str] = SizedCache(20)
    for _ in range(5):
        cache.keep("a", "first", 10)
    cache.keep("b", "second", 10)
    cache.keep("c", "third", 21)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("first", "second", None)


def test_the_bytes_of_all_documents_are_bounded() -> None:
    cache = documents(max_bytes=30_000)
    for name in "abcdefgh":
        cache.get(f"{{ {name}: __typename }}")
    assert 0 < len(cache) < 6
    assert cache.get("{ h: __typename }")[0] is cache.get("{ h: __typename }")[0]


@pytest.mark.parametrize(
    "source",
    [
        "{" + " ".join(f'a{n}: contact(id:"a"){{id}}' for n in range(490)) + "}",
        "{listContacts(count:1){" + " ".join(f"a{n}:id" for n in range(490)) + "}}",
        "{" + "...{__typename " * 15 + "}" * 15 + "}",
    ],
)
def test_no_document_takes_more_memory_than_is_estimated_so_300_of_490_fields_keep_less_than_32_mb(source: str) -> None:
    cache = documents()
    cache.get("{ __typename }")
    gc.collect()
    tracemalloc.start()
    try:
        kept: Any = None
        with suppress(RequestRefused):
            kept, _ = cache.get(source)
            kept.plan(kept.operation(None))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < BYTES_A_DOCUMENT + BYTES_A_CHARACTER * len(source)
    assert MAX_BYTES < 32 * 1024 * 1024
