"""The tags that the runs table offers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from webapp.accounts.models import Project
from webapp.runs import used_tags
from webapp.runs.models import Run


@pytest.fixture
def tagged(project: Project, make_run: Callable[..., Run]) -> None:
    for tags in ([], ["b"], ["a", "b"], ["b"], ['über, "c"'], []):
        run = make_run()
        run.tags = tags
        run.save()


@pytest.mark.parametrize("most", [1000, 4, 1])
def test_every_tag_is_found_once_however_many_lists_there_are(
    project: Project, tagged: None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(used_tags, "MOST_LISTS", most)

    assert used_tags.used_tags(project) == ["a", "b", 'über, "c"']


def test_where_no_run_has_a_tag_there_is_none(
    project: Project, make_run: Callable[..., Run]
) -> None:
    assert used_tags.used_tags(project) == []
    make_run()
    assert used_tags.used_tags(project) == []
    assert used_tags.used_tags(None) == []
