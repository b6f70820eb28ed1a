"""The vocabulary: words that docs/glossary.md has replaced name no function, class or module."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("chaos", "contacts_read", "contacts_write", "cqrs", "cqrssite", "database_service", "protocol")

# With what stands in their place.
REPLACED = {
    "recognition": "history guard",
    "followed": "tracked",
    "greet": "on_event",
    "hear": "on_event",
    "tell": "notify, log",
    "say": "notify, log",
    "offer": "command",
    "offers": "commands",
    "withdrawn": "voided",
    "gather": "batch",
    "doors": "services",
    "spare": "named after what it does",
    "sparing": "named after what it does",
    "tether": "parent death",
    "undecodable": "malformed",
    "garbage": "malformed",
}
# By module and name, with the reason. There is none.
EXCEPTIONS: dict[str, str] = {}


def replaced_words(identifier: str) -> set[str]:
    """Those in a name in snake or camel case."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}
    return words & REPLACED.keys()


def names() -> Iterator[str]:
    """As "cqrs.journal.relay:Relay"; of a module itself as "cqrs.journal.relay:relay"."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            # Those of protoc.
            if path.stem.endswith(("_pb2", "_pb2_grpc")):
                continue
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield f"{module}:{path.parent.name if path.stem == '__init__' else path.stem}"
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    yield f"{module}:{node.name}"


def test_a_replaced_word_is_found_wherever_it_stands_in_a_name() -> None:
    assert replaced_words("_hear_broker") == {"hear"}
    assert replaced_words("SpareSockets") == {"spare"}
    assert replaced_words("decode_offers") == {"offers"}
    assert not replaced_words("partition_by_hearing")


def test_no_replaced_word_names_a_function_a_class_or_a_module() -> None:
    wrong = {name for name in names() if replaced_words(name.partition(":")[2])} - set(EXCEPTIONS)
    assert not wrong
    assert set(EXCEPTIONS) <= set(names())
