"""What a model says becomes a title of one line, or none."""

from __future__ import annotations

import pytest

from chatkeep.services.titles import title_in


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Rivers of Paris", "Rivers of Paris"),
        ('\n\n  "Rivers  of\tParis."  \nand more', "Rivers of Paris"),
        ("**Title: Rivers of Paris**", "Rivers of Paris"),
        ("# «Flüsse von Paris»", "Flüsse von Paris"),
        ("「パリの川」", "パリの川"),
        ('It\'s a "river" in Paris', 'It\'s a "river" in Paris'),
        ("<think>\nThe user asks\n</think>\n\nRivers of Paris", "Rivers of Paris"),
        ("<think>\nThe user asks for a", ""),
        ("a\x1b[31mb\u202ec", "a [31mb c"),
        ("word " * 100, "word " * 10 + "word…"),
        ("", ""),
        (' \n"" \n...', ""),
        ("\n \n", ""),
    ],
)
def test_a_title_is_one_line_without_ornaments(said: str, title: str) -> None:
    assert title_in(said) == title
