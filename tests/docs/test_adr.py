"""Every decision is told in the template's form, so that a reader finds the same answers at the same place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "adr"
PAGES = sorted(FOLDER.glob("*.md"))
TEMPLATE = PAGES[0]


def headings(page: Path) -> list[str]:
    return re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_pages_are_numbered_without_gaps() -> None:
    assert [int(page.name[:4]) for page in PAGES] == list(range(len(PAGES)))


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name[:4])
def test_a_page_has_the_templates_form(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    status = r"(proposed|accepted|replaced by \d{4})"
    form = rf"# {page.name[:4]}: .+\n\nDate: \d{{4}}-\d\d-\d\d\. Status: {status}\.\n\n## "
    assert re.match(form, text), text[:100]
    assert headings(page) == headings(TEMPLATE)
    assert all(part.strip() for part in re.split(r"^## .+$", text, flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name[:4])
def test_what_enforces_it_is_there(page: Path) -> None:
    root = FOLDER.parents[1]
    named = re.findall(
        r"`((?:tests|scripts|src)/[\w/.]+)`", page.read_text(encoding="utf-8").partition("## Enforced by")[2]
    )
    assert named
    assert [each for each in named if not (root / each).exists()] == []
