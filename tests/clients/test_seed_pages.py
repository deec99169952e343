"""The copies of the four pages are what everybody was given, and `seeds` and `schemas` leave nothing of them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import schemas, seeds

RUN = {
    "openwebui-bash",
    "lexicon-bash",
    "lexicon-javascript",
    "lexicon-python",
    "synthflow-python",
    "synthflow-ruby",
    "synthflow-go",
}
LEFT = {
    "lexicon-react": "a component for a browser: run where there is one",
    "synthflow-java": "needs a library (Unirest)",
    "synthflow-csharp": "needs a library (RestSharp)",
    "synthflow-swift": "needs Apple's Foundation",
}


def test_the_pages_are_the_ones_everybody_was_given() -> None:
    given = Path(__file__).parents[3] / "shared" / "seeds"
    if not given.is_dir():
        pytest.skip(f"{given} is not there")
    ours = {path.name: path.read_bytes() for path in seeds.PAGES.iterdir()}
    assert ours == {path.name: path.read_bytes() for path in given.iterdir()}


def test_every_printed_request_is_run_or_says_why_not() -> None:
    names = [each.name for each in seeds.examples()]
    assert len(names) == len(set(names))
    assert set(names) == RUN | LEFT.keys()


def test_the_table_accounts_for_all_of_cuadras_page() -> None:
    assert schemas.cuadra_descriptions_left() == ""


@pytest.mark.parametrize("dialect", ["openwebui", "lexicon"])
def test_the_lists_of_fields_are_the_printed_objects(dialect: str) -> None:
    listed = seeds.openwebui_fields() if dialect == "openwebui" else seeds.lexicon_fields()
    assert list(listed) == list(seeds.printed_object(dialect))
    schemas.check(dialect, seeds.printed_object(dialect))
