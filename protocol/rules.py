"""What a name, an id and a count have to be. The gateway refuses early by these rules; the database decides by them."""

import re
import unicodedata

MAX_NAME = 200
MAX_ID = 100
MAX_COUNT = 1000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}\Z")


def name_error(name: str) -> str | None:
    """Why `name` is no name of a contact (as a sentence), or None. Expects it trimmed."""
    return text_error("name", name.strip() and name, MAX_NAME)


def text_error(
    what: str, text: str, longest: int | None, *, may_be_empty: bool = False, multiline: bool = False
) -> str | None:
    """Why `text` is none that may be kept (as a sentence that begins with `what`), or None. Expects it trimmed.

    longest: in characters; None: whatever a message holds. multiline: tabs and ends of lines are allowed.
    """
    if not text:
        return None if may_be_empty else f"{what} must not be empty"
    if longest is not None and len(text) > longest:
        return f"{what} must be at most {longest} characters, not {len(text)}"
    if text.isprintable():
        return None  # nearly every text, and neither of the two below is
    for character in text:
        # Cc: control characters; Cs: lone surrogates, which UTF-8 cannot carry.
        if unicodedata.category(character) in ("Cc", "Cs") and not (multiline and character in "\t\n\r"):
            return f"{what} must not contain the control character U+{ord(character):04X}"
    return None


def id_error(value: str, what: str = "id") -> str | None:
    """Why `value` is no id (as a sentence that begins with `what`), or None."""
    if _ID.match(value):
        return None
    if not value:
        return f"{what} must not be empty"
    return f"{what} must be 1 to {MAX_ID} letters, digits or . _ : - and begin with a letter or digit"


def count_error(count: int) -> str | None:
    """Why `count` is no number of contacts to list, or None."""
    if 0 <= count <= MAX_COUNT:
        return None
    return f"count must be 0 to {MAX_COUNT}, not {count}"
