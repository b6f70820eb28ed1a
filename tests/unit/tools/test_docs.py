"""The page about the architecture names files that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_each_file_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", (ROOT / "docs" / "architecture.md").read_text()))
    assert len(named) > 40
    assert not {path for path in named if not (ROOT / path).is_file()}
