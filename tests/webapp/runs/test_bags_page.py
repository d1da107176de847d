"""The bag view: what a run kept of its watched videos, at the steps that are asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import seeding
from django.test import Client

from vad import bags
from vad.bags import Bags
from webapp.accounts.models import Project, User


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture
def kept(seeded: seeding.Seeded) -> list[Bags]:
    return seeding.add_bags(seeded, seeded.runs["first"])


def address(seeded: seeding.Seeded, query: str = "") -> str:
    return f"/runs/{seeded.runs['first'].pk}/bags/{query}"


def test_it_opens_on_an_abnormal_video_at_a_few_steps(
    client: Client, seeded: seeding.Seeded, kept: list[Bags]
) -> None:
    answer = client.get(address(seeded))

    view = answer.context["view"]
    assert (view.video, view.label) == (kept[0].keys[-1], 1)
    assert view.chosen == [50, 100, 200, 300]
    assert "No temporal truth is shown" in answer.content.decode()


def test_the_segments_are_those_that_the_loss_averages(
    client: Client, seeded: seeding.Seeded, kept: list[Bags]
) -> None:
    rows = client.get(address(seeded, "?step=100")).context["rows"]

    at = len(kept[1].keys) - 1
    expected = set(np.argsort(-kept[1].scores[at])[: kept[1].top].tolist())
    assert {row.segment for row in rows if "score" in row.by} == expected
    assert [row.segment for row in rows] == sorted(row.segment for row in rows)
    video = seeded.version.videos.get(key=kept[1].keys[at])
    first = rows[0]
    assert first.frames == (
        video.num_frames * first.segment // 32,
        video.num_frames * (first.segment + 1) // 32,
    )
    assert first.score == pytest.approx(float(kept[1].scores[at, first.segment]))


def test_figures_draw_what_was_kept(
    client: Client, seeded: seeding.Seeded, kept: list[Bags]
) -> None:
    def figure(name: str) -> dict:
        return client.get(address(seeded, f"figures/{name}/?step=50&step=300")).json()

    scores, carried, history, memory = map(figure, ("scores", "carried", "history", "memory"))

    lines = [trace for trace in scores["data"] if trace["mode"] == "lines"]
    assert [trace["name"] for trace in lines] == ["step 50", "step 300"]
    np.testing.assert_allclose(lines[1]["y"], kept[3].scores[-1], atol=1e-5)
    rings = [trace for trace in scores["data"] if trace["mode"] == "markers"]
    assert rings[1]["x"] == sorted(kept[3].chosen(len(kept[3].keys) - 1).tolist())
    total = sum(next(t for t in carried["data"] if t["mode"] == "lines")["y"])
    assert total == pytest.approx(1, abs=1e-3)
    assert len(history["data"][0]["z"]) == 4  # all steps, whatever is chosen
    abnormal = np.array(memory["data"][0]["z"])
    np.testing.assert_allclose(abnormal, kept[3].abnormal_slots[-1].T / 255, atol=2e-3)


def test_a_run_without_bags_says_why(client: Client, seeded: seeding.Seeded) -> None:
    for name, words in (
        ("first", "No bags were kept"),
        ("running", "They are kept at every evaluation, each 50 steps."),
        ("extract", "Only training runs have bags"),
    ):
        answer = client.get(f"/runs/{seeded.runs[name].pk}/bags/")
        assert answer.status_code == 200
        assert words in answer.content.decode()


def test_an_unknown_video_and_a_damaged_file_are_named(
    client: Client, seeded: seeding.Seeded, kept: list[Bags]
) -> None:
    missing = client.get(address(seeded, "?video=nosuch"))
    bags.path_of(seeded.runs["first"].folder, 300).write_bytes(b"nothing")
    damaged = client.get(address(seeded))

    assert missing.status_code == 404
    assert "does not watch a video nosuch" in missing.content.decode()
    assert damaged.status_code == 422
    assert "step-000300.safetensors is not a file of bags" in damaged.content.decode()
    assert client.get(address(seeded, "figures/nosuch/?step=50")).status_code == 404


def test_the_api_gives_the_same_numbers(
    client: Client, seeded: seeding.Seeded, kept: list[Bags]
) -> None:
    path = f"/api/v1/runs/{seeded.runs['first'].pk}/bags/"

    found = client.get(f"{path}?step=200").json()

    (one,) = found["bags"]
    assert (found["steps"], one["step"], one["top"]) == ([50, 100, 200, 300], 200, 3)
    np.testing.assert_allclose(one["scores"], kept[2].scores[-1], atol=1e-6)
    assert client.get(f"/api/v1/runs/{seeded.runs['second'].pk}/bags/").status_code == 404


def test_bags_of_others_are_not_there(
    seeded: seeding.Seeded, kept: list[Bags], stranger: User, sign_in: Callable[[User], Client]
) -> None:
    other = sign_in(stranger)

    assert other.get(address(seeded)).status_code == 404
    assert other.get(address(seeded, "figures/scores/")).status_code == 404
    assert other.get(f"/api/v1/runs/{seeded.runs['first'].pk}/bags/").status_code == 404
