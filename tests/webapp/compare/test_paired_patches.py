"""Paired tests of patch metrics on the comparison page and over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import seeding
from django.test import Client

from vad.evaluation.bootstrap import percentile_interval, two_sided
from webapp.accounts.models import Project, User
from webapp.compare import draws, selection
from webapp.evaluations.models import Evaluation


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    """Two runs with patch scores of one protocol."""
    found = seeding.seed(user, project)
    for evaluation in found.evaluations:
        seeding.add_maps(found, evaluation)
    return found


def both(seeded: seeding.Seeded, **more: str) -> str:
    first, second = seeded.runs["first"], seeded.runs["second"]
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return f"/compare/?run={first.pk}&run={second.pk}{rest}"


def part(client: Client, address: str, name: str) -> tuple[str, Any]:
    answer = client.get(f"{address}&part={name}", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return answer.content.decode(), answer.context


def without(evaluation: Evaluation, *names: str) -> None:
    """As an older program stored it; new maps, so that nothing of it is remembered."""
    evaluation.patch = {k: v for k, v in evaluation.patch.items() if k not in names}
    evaluation.patch["sha256"] = "0" * 64
    evaluation.save()


@pytest.mark.parametrize("metric", ["patch_auc", "patch_ap_step_ungated", "tiou"])
def test_a_pair_of_patch_metrics_is_the_difference_of_the_kept_draws(
    client: Client, seeded: seeding.Seeded, metric: str
) -> None:
    a, b = (e.patch for e in seeded.evaluations)
    drawn = np.subtract(b["draws"][metric], a["draws"][metric])

    text, context = part(client, both(seeded, pairs=metric), "pairs")

    (_, (none, upper)), (_, (lower, _)) = context["pair_rows"]
    assert none is None
    assert len(drawn) == draws.SAMPLES
    assert lower["difference"] == pytest.approx(b["metrics"][metric] - a["metrics"][metric])
    assert [lower["low"], lower["high"]] == percentile_interval(drawn)
    assert lower["p"] == two_sided(drawn)
    assert upper["difference"] == -lower["difference"]
    assert f'<option value="{metric}" selected>' in text


def test_differences_of_patch_metrics_stand_in_the_table(
    client: Client, seeded: seeding.Seeded
) -> None:
    _, context = part(client, both(seeded), "differences")

    at = [column.name for column in context["table"].columns].index("patch_auc")
    first, second = (row.cells[at].difference for row in context["table"].rows)
    assert first is None
    assert second.p is not None


def test_patch_metrics_are_offered_only_where_a_run_has_them(
    client: Client, seeded: seeding.Seeded
) -> None:
    assert "Patches" in part(client, both(seeded), "pairs")[1]["metrics"]
    Evaluation.objects.update(patch={})

    text, context = part(client, both(seeded, pairs="patch_auc"), "pairs")

    assert list(context["metrics"]) == ["Frames"]
    assert context["pair_rows"] is None
    assert "Fewer than two of these runs have patch scores" in text


def test_patch_scores_of_other_grids_are_not_comparable_though_the_frames_are(
    client: Client, seeded: seeding.Seeded
) -> None:
    seeding.add_maps(seeded, seeded.evaluations[1], rows=6, columns=10)

    patches, _ = part(client, both(seeded, pairs="patch_auc"), "pairs")
    _, frames = part(client, both(seeded), "pairs")

    assert "Not comparable: the patch scores were made under different protocols" in patches
    assert frames["pair_rows"]


def test_a_run_without_patch_scores_is_left_out_and_named() -> None:
    a, b, c, d = members = [
        selection.Member(name=name, runs=[], evaluations=[Evaluation(fingerprint="frames")])
        for name in "abcd"
    ]
    for member, own in ((a, "one"), (b, None), (c, "one"), (d, "two")):
        member.evaluations[0].patch_fingerprint = own  # type: ignore[attr-defined]

    assert draws.under_one_protocol(members, metric="patch_auc") == [a, c]
    assert draws.under_one_protocol(members) == members
    assert [draws.scored(member, "patch_auc") for member in members] == [True, False, True, True]


def test_without_kept_draws_there_is_a_difference_without_an_interval(
    client: Client, seeded: seeding.Seeded
) -> None:
    without(seeded.evaluations[1], "draws")

    text, context = part(client, both(seeded, pairs="patch_auc"), "pairs")

    (_, (_, cell)), _ = context["pair_rows"]
    assert cell["difference"] is not None
    assert cell["p"] is None
    assert context["without_draws"] == [context["pair_members"][1]]
    assert "Evaluate them again" in text


def test_a_metric_that_is_not_defined_is_no_run_against_itself(
    client: Client, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[0]
    evaluation.patch["metrics"]["rbdc"] = None
    evaluation.save()

    text, context = part(client, both(seeded, pairs="rbdc"), "pairs")

    assert [cell for _, cells in context["pair_rows"] for cell in cells] == [None, {}, {}, None]
    assert text.count('aria-label="not defined"') == 2


def test_the_api_pairs_patch_metrics_and_refuses_those_of_other_protocols(
    client: Client, seeded: seeding.Seeded
) -> None:
    ids = ",".join(str(seeded.runs[name].pk) for name in ("first", "second"))
    asked = {"runs": ids, "metric": "patch_ap_step"}

    (pair,) = client.get("/api/v1/compare/pairs/", asked).json()["pairs"]
    values = [e.patch["metrics"]["patch_ap_step"] for e in seeded.evaluations]
    assert pair["difference"] == pytest.approx(values[1] - values[0])
    assert pair["low"] <= pair["difference"] <= pair["high"]

    seeding.add_maps(seeded, seeded.evaluations[1], rows=6, columns=10)
    answer = client.get("/api/v1/compare/pairs/", asked)
    assert answer.status_code == 400
    assert "patch scores of one protocol" in answer.json()["fields"]["runs"]
    assert client.get("/api/v1/compare/pairs/", {"runs": ids}).status_code == 200


def test_an_evaluation_is_given_without_its_draws(client: Client, seeded: seeding.Seeded) -> None:
    run = seeded.evaluations[0].run

    patch = client.get(f"/api/v1/evaluations/{run.pk}/").json()["patch"]

    assert patch["metrics"]["patch_auc"] is not None
    assert "draws" not in patch
