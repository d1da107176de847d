"""Several runs side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from statistics import mean, stdev
from urllib.parse import urlencode

import numpy as np
import pytest
import seeding
from django.test import Client

from vad.configs import TwoStageConfig, UrdmuConfig
from vad.evaluation.anatomy import explain_difference
from vad.evaluation.bootstrap import paired
from vad.evaluation.curves import operating_point
from vad.evaluation.patch_protocol import PatchProtocol
from vad.evaluation.patch_truth import PatchRule
from vad.evaluation.protocol import Protocol
from vad.evaluation.scores import ScoreSet
from webapp.accounts.models import Project, User
from webapp.compare import comparison, draws, figures, selection, two
from webapp.compare.page import Asked
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.runs import chunks
from webapp.runs.models import Run
from webapp.runs.names import short_names


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def address(*runs: Run) -> str:
    return "/compare/?" + "&".join(f"run={run.pk}" for run in runs)


def test_without_runs_the_page_offers_some(client: Client, seeded: seeding.Seeded) -> None:
    answer = client.get("/compare/")

    assert "Choose runs to compare" in answer.content.decode()
    assert seeded.runs["first"] in answer.context["candidates"]


def part(client: Client, address: str, name: str) -> tuple[str, dict]:
    """A part of the page as htmx asks for it: its text and its context."""
    answer = client.get(f"{address}&part={name}", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return answer.content.decode(), answer.context


def by_name(scores: ScoreSet) -> ScoreSet:
    """In the order in which the draws take the videos."""
    return scores.select(np.argsort(np.array(scores.keys)))


def both(seeded: seeding.Seeded) -> str:
    return address(seeded.runs["first"], seeded.runs["second"])


def test_runs_stand_in_the_order_of_the_address_each_once(
    client: Client, seeded: seeding.Seeded
) -> None:
    first, second = seeded.runs["first"], seeded.runs["second"]
    evaluate = seeded.evaluations[0].run  # stands for the run that it evaluated

    members = client.get(address(second, evaluate, first)).context["members"]

    assert [member.run for member in members] == [second, first]


def test_differences_are_paired_over_the_same_videos(
    client: Client, seeded: seeding.Seeded
) -> None:
    a, b = (store.load(e) for e in seeded.evaluations)
    expected = paired(a, b, samples=draws.SAMPLES, names=["auc"])["auc"]

    plain = client.get(both(seeded))
    text, context = part(client, both(seeded), "differences")

    assert "part=differences" in plain.content.decode()  # asked for once the page stands
    assert text.lstrip().startswith('<section class="panel" id="metrics"')
    table = context["table"]
    place = [column.name for column in table.columns].index("auc")
    first, second = (row.cells[place] for row in table.rows)
    assert expected is not None
    assert first.difference is None
    difference = f"{expected.difference:+.4f}".replace("-", "\u2212")
    assert second.difference.text.startswith(f"{difference} \u2212")
    assert second.difference.sign == "worse"
    assert [first.best, second.best] == [True, False]


def test_without_scripts_a_part_comes_with_the_page(client: Client, seeded: seeding.Seeded) -> None:
    answer = client.get(f"{both(seeded)}&part=differences")

    assert "resamples of the same test videos" in answer.content.decode()
    assert answer.context["with_differences"]


def test_other_protocols_are_not_comparable_and_the_page_says_what_differs(
    client: Client, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[1]
    other = replace(Protocol.from_dict(evaluation.protocol), smoothing=5)
    evaluation.protocol, evaluation.fingerprint = other.to_dict(), other.fingerprint
    evaluation.save()

    text = client.get(both(seeded)).content.decode()
    _, context = part(client, both(seeded), "differences")

    assert "Not comparable" in text
    assert "The smoothing over snippets differs: 1 and 5." in text
    cells = [cell for row in context["table"].rows for cell in row.cells]
    assert not any(cell.best or cell.difference for cell in cells)
    assert "Only runs of one protocol" in part(client, both(seeded), "pairs")[0]
    assert "not evaluated under one protocol" in part(client, both(seeded), "two")[0]


def test_runs_of_the_protocol_that_most_have_are_tested_and_looked_at_in_detail() -> None:
    a, b, c = members = [
        selection.Member(
            name=name, runs=[Run(name=name)], evaluations=[Evaluation(fingerprint=protocol)]
        )
        for name, protocol in (("a", "other"), ("b", "usual"), ("c", "usual"))
    ]

    assert draws.under_one_protocol(members) == [b, c]
    assert draws.under_one_protocol(members, a) == [a]
    assert two.chosen_two(members, "", "") == (b, c)
    assert two.chosen_two(members, a.key, "") == (a, b)
    assert two.chosen_two(members, "", b.key) == (c, b)
    assert Asked(runs=[], members=members).reference is b


def test_settings_of_one_kind_of_run_stand_apart() -> None:
    kinds = (UrdmuConfig(), TwoStageConfig(seed=3))
    members = [
        selection.Member(name=c.kind, runs=[Run(kind=c.kind, config=c.to_dict())]) for c in kinds
    ]

    partial = {row.name: row.partial for row in comparison.settings(members)}

    assert partial["seed"] is False
    assert partial["num_tubelet"] is True


def test_other_patch_protocols_are_said_though_the_frames_are_comparable(
    client: Client, seeded: seeding.Seeded
) -> None:
    for evaluation, merge in zip(seeded.evaluations, ("merged", "each"), strict=False):
        protocol = PatchProtocol.of(
            Protocol.from_dict(evaluation.protocol),
            rule=PatchRule(rows=2, columns=2, cell=16, grow=1.0),
            truth={"a": [1]},
            tubelets=2,
            merge=merge,
        )
        value = 0.9 if merge == "each" else 0.8
        evaluation.patch = {
            "metrics": {"patch_auc": value},
            "protocol": protocol.to_dict(),
            "fingerprint": protocol.fingerprint,
        }
        evaluation.save()

    answer = client.get(both(seeded))
    _, context = part(client, both(seeded), "differences")

    text = answer.content.decode()
    assert "Patch numbers are not comparable" in text
    assert "Not comparable:" not in text  # the frame numbers are
    assert "Patch numbers only: The" in text
    at = [c.name for c in context["table"].columns].index("patch_auc")
    cells = [row.cells[at] for row in context["table"].rows]
    assert [cell.value for cell in cells] == [0.8, 0.9]
    assert not any(cell.best for cell in cells)
    assert any(cell.best for row in context["table"].rows for cell in row.cells)


def test_every_pair_reads_row_minus_column(client: Client, seeded: seeding.Seeded) -> None:
    a, b = (by_name(store.load(e)) for e in seeded.evaluations)
    expected = paired(a, b, samples=draws.SAMPLES, names=["video_auc"])["video_auc"]

    _, context = part(client, f"{both(seeded)}&pairs=video_auc", "pairs")

    (_, (none, upper)), (_, (lower, _)) = context["pair_rows"]
    assert none is None
    assert lower["difference"] == pytest.approx(expected.difference)
    assert upper["difference"] == pytest.approx(-expected.difference)
    assert (upper["low"], upper["high"]) == (-lower["high"], -lower["low"])
    assert lower["p"] == pytest.approx(expected.p)


def test_the_videos_that_explain_the_difference_add_up_to_it(
    client: Client, seeded: seeding.Seeded
) -> None:
    a, b = (store.load(e) for e in seeded.evaluations)
    expected = explain_difference(a, b)

    text, context = part(client, both(seeded), "two")

    found = context["explained"]
    assert found.difference == expected["difference"]
    assert [row.key for row in found.videos] == [v["key"] for v in expected["videos"]][:25]
    total = sum(v["contribution"] for v in expected["videos"])
    assert total == pytest.approx(found.difference)
    assert found.videos[0].href.endswith(urlencode({"video": found.videos[0].key}))
    assert found.videos[0].key in text


def test_two_runs_are_chosen_in_the_address(client: Client, seeded: seeding.Seeded) -> None:
    second = seeded.runs["second"]

    _, context = part(client, f"{both(seeded)}&a={second.pk}", "two")

    assert (context["a"].run, context["b"].run) == (second, seeded.runs["first"])
    query = both(seeded).partition("?")[2]
    figure = client.get(f"/compare/figures/scatter/?{query}&a={second.pk}&scatter=auc").json()
    assert figure["csv"]["columns"][2:] == [second.name, seeded.runs["first"].name]
    shown = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert all(href.startswith("/evaluations/viewer/") for t in shown for href in t["customdata"])
    rows = {row[0]: row[2] for row in figure["csv"]["rows"]}
    own = store.load(seeded.evaluations[1])
    assert rows and set(rows) <= set(own.keys)


def test_the_class_matrix_is_that_of_the_evaluations(
    client: Client, seeded: seeding.Seeded
) -> None:
    rows = client.get(both(seeded)).context["class_rows"]

    for at, evaluation in enumerate(seeded.evaluations):
        own = {row["class"]: row["auc"] for row in evaluation.per_class}
        found = {row.name: row.cells[at].value for row in rows}
        assert found == {name: value for name, value in own.items() if name in found}
    best = [[cell.value for cell in row.cells if cell.best] for row in rows]
    values = [[cell.value for cell in row.cells if cell.value is not None] for row in rows]
    assert all(
        found == [max(own)] or len(set(own)) == 1 for found, own in zip(best, values, strict=True)
    )


def test_the_operating_point_is_the_one_of_the_library(
    client: Client, seeded: seeding.Seeded
) -> None:
    rows = client.get(both(seeded)).context["operating_rows"]

    for (_, found), evaluation in zip(rows, seeded.evaluations, strict=True):
        expected = operating_point(store.load(evaluation), 0.5)
        assert {k: found[k] for k in ("fpr", "tpr", "precision")} == pytest.approx(
            {k: expected[k] for k in ("fpr", "tpr", "precision")}
        )


def test_only_settings_that_differ_are_listed(client: Client, seeded: seeding.Seeded) -> None:
    rows = client.get(both(seeded)).context["settings"]

    assert {row.name for row in rows} == {"lr", "seed", "dropout", "selection"}


def seeds(seeded: seeding.Seeded) -> list[Run]:
    """The two evaluated runs as seeds of one setting."""
    first, second = seeded.runs["first"], seeded.runs["second"]
    second.config = {**first.config, "seed": 77}
    second.kind, second.version, second.feature_set = first.kind, first.version, first.feature_set
    second.save()
    return [first, second]


def test_seeds_of_one_setting_are_one_member(client: Client, seeded: seeding.Seeded) -> None:
    runs = [*seeds(seeded), seeded.runs["running"]]

    context = client.get(f"{address(*runs)}&group=seed").context

    group, other = context["members"]
    assert (group.runs, other.runs) == (runs[:2], runs[2:])
    column = [c.name for c in context["table"].columns].index("auc")
    cell = context["table"].rows[0].cells[column]
    values = [e.metrics["auc"] for e in seeded.evaluations]
    assert (cell.value, cell.deviation, cell.n) == pytest.approx((mean(values), stdev(values), 2))
    query = address(*runs).partition("?")[2]
    roc = client.get(f"/compare/figures/roc/?{query}&group=seed").json()
    curve = next(t for t in roc["data"] if t.get("meta", {}).get("key"))
    assert f"{mean(values):.3f} \u00b1 {stdev(values):.3f}" in curve["name"]
    assert any(t["name"] == "\u00b1 1 deviation over the runs" for t in roc["data"])


def test_a_group_curve_is_mean_and_deviation_at_each_step() -> None:
    a = (np.array([0, 10, 20]), np.array([1.0, 2.0, 3.0]))
    b = (np.array([0, 20, 30]), np.array([3.0, 5.0, np.nan]))  # half way, 4 at step 10

    x, middle, low, high = figures.mean_curve([a, b])

    assert x.tolist() == [0, 10, 20]
    assert middle.tolist() == [2, 3, 4]
    spread = [stdev(pair) for pair in ((1, 3), (2, 4), (3, 5))]
    assert (high - middle).tolist() == pytest.approx(spread)
    assert (middle - low).tolist() == pytest.approx(spread)


def test_a_group_curve_counts_only_the_runs_that_are_there() -> None:
    x, middle, low, high = figures.mean_curve(
        [(np.array([0, 1]), np.array([1.0, 1.0])), (np.array([1, 2]), np.array([3.0, 3.0]))]
    )

    assert dict(zip(x.tolist(), middle.tolist(), strict=True)) == {0: 1, 1: 2, 2: 3}
    assert low[0] == middle[0] == high[0]


def test_groups_by_a_field_are_offered_where_it_varies(seeded: seeding.Seeded) -> None:
    first, second, third = seeded.runs["first"], seeded.runs["second"], seeded.runs["running"]
    third.config = {**third.config, "lr": first.config["lr"]}

    ways = dict(selection.ways([first, second, third]))
    groups = selection.members([first, second, third], {}, "config.lr")

    assert ways["config.lr"] == "same lr"
    assert "config.seed" not in ways
    assert [group.runs for group in groups] == [[first, third], [second]]
    assert groups[0].name == f"lr {first.config['lr']}"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["UR-DMU on a, seed 1", "UR-DMU on a, lr 3, seed 1"], ["seed 1", "lr 3, seed 1"]),
        (["one run", "one more run"], ["one run", "one more run"]),
        (["a, b", "a, b"], ["b", "b"]),
        (["alone, and so whole"], ["alone, and so whole"]),
    ],
)
def test_names_leave_out_what_all_of_them_begin_with(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


def test_a_run_keeps_its_colour_whoever_stands_beside_it(
    client: Client, seeded: seeding.Seeded
) -> None:
    def colour(*runs: Run) -> str:
        query = address(*runs).partition("?")[2]
        figure = client.get(f"/compare/figures/curves/?{query}&key=loss/total").json()
        name = seeded.runs["second"].name  # the legend leaves out what all names begin with
        traces = {t["name"].rpartition("  ")[0]: t for t in figure["data"]}
        return next(t["line"]["color"] for own, t in traces.items() if name.endswith(own))

    alone = colour(seeded.runs["second"])
    together = colour(seeded.runs["first"], seeded.runs["second"], seeded.runs["running"])

    assert alone == together


def test_a_run_without_an_evaluation_is_compared_in_its_curves_only(
    client: Client, seeded: seeding.Seeded
) -> None:
    answer = client.get(address(seeded.runs["first"], seeded.runs["running"]))

    assert "not evaluated" in answer.content.decode()
    assert "validation/video_auc" in answer.context["asked"].keys


@pytest.mark.parametrize("name", ["metrics", "classes"])
def test_tables_are_taken_along_as_text(client: Client, seeded: seeding.Seeded, name: str) -> None:
    second = seeded.runs["second"]
    second.name = "50 % | a_b & co"
    second.save()
    query = both(seeded).partition("?")[2]

    def table(form: str) -> str:
        answer = client.get(f"/compare/tables/{name}/?{query}&as={form}")
        assert answer["Content-Disposition"] == f'attachment; filename="{name}.{form}"'
        return answer.content.decode()

    rows = list(csv.reader(io.StringIO(table("csv"))))
    markdown, latex = table("md"), table("tex")

    assert len({len(row) for row in rows}) == 1
    flat = {cell for row in rows for cell in row}
    assert any(cell.startswith(second.name) for cell in flat)
    assert r"50 % \| a_b & co" in markdown
    assert r"50 \% | a\_b \& co" in latex
    assert latex.count(r"\\") == len(rows)
    assert "95 % bootstrap intervals" in markdown
    if name == "metrics":
        auc = rows[0].index("AUC")
        assert [float(row[auc]) for row in rows[1:]] == [
            e.metrics["auc"] for e in seeded.evaluations
        ]


def test_tables_and_figures_that_are_not_there_are_404(
    client: Client, seeded: seeding.Seeded
) -> None:
    query = both(seeded).partition("?")[2]

    for path in (f"tables/other/?{query}", f"tables/metrics/?{query}&as=xls", "tables/metrics/?"):
        assert client.get(f"/compare/{path}").status_code == 404
    assert client.get(f"/compare/figures/other/?{query}").status_code == 404


def test_a_table_of_many_runs_is_drawn_for_the_best(
    client: Client, seeded: seeding.Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_CURVES", 1)

    figure = client.get(f"/compare/figures/roc/?{both(seeded).partition('?')[2]}").json()

    curves = [t for t in figure["data"] if t.get("meta", {}).get("key")]
    best = max(seeded.evaluations, key=lambda e: e.frame_auc or 0)
    assert [t["meta"]["key"] for t in curves] == [str(best.of_run_id)]
    assert figure["note"] == "the 1 of 2 with the highest AUC"


def test_lost_scores_are_named_and_the_page_stands(client: Client, seeded: seeding.Seeded) -> None:
    seeded.evaluations[1].scores_path.unlink()

    assert client.get(both(seeded)).status_code == 200
    assert "scores.safetensors does not exist" in part(client, both(seeded), "differences")[0]
    assert "scores.safetensors does not exist" in part(client, both(seeded), "pairs")[0]
    assert "scores.safetensors does not exist" in part(client, both(seeded), "two")[0]


def test_what_is_wrong_with_the_reference_is_said_once(seeded: seeding.Seeded) -> None:
    first, second = seeded.evaluations
    first.scores_path.unlink()
    members = [
        selection.Member(name=name, runs=[each.of_run], evaluations=[each])
        for name, each in (("reference", first), ("b", second), ("c", second))
    ]

    table = comparison.metric_table(members, members[0], with_differences=True)

    assert len(table.problems) == 1


def test_the_page_asks_no_more_for_more_runs(
    client: Client, seeded: seeding.Seeded, django_assert_max_num_queries: Callable
) -> None:
    chunks.append(seeded.runs["waiting"], {"loss/total": (np.arange(3), np.ones(3))})
    few = address(seeded.runs["first"], seeded.runs["second"])
    many = address(*(run for run in seeded.runs.values() if run.kind.startswith("train")))

    with django_assert_max_num_queries(20) as counted:
        client.get(few)
    with django_assert_max_num_queries(len(counted)):
        client.get(many)


def test_runs_of_others_are_left_out(
    seeded: seeding.Seeded, stranger: User, sign_in: Callable[[User], Client]
) -> None:
    other = sign_in(stranger)

    assert other.get(both(seeded)).context["members"] == []
    assert other.get(f"/compare/tables/metrics/?{both(seeded)[10:]}").status_code == 404


def test_the_api_gives_members_pairs_and_explanations(
    client: Client, seeded: seeding.Seeded
) -> None:
    runs = seeds(seeded)
    ids = ",".join(str(run.pk) for run in runs)

    whole = client.get("/api/v1/compare/", {"runs": ids, "group": "seed"}).json()
    pairs = client.get("/api/v1/compare/pairs/", {"runs": ids}).json()
    explained = client.get("/api/v1/compare/explain/", {"runs": ids}).json()

    (member,) = whole["members"]
    assert member["runs"] == [str(run.pk) for run in runs]
    assert member["metrics"]["auc"]["n"] == 2
    (pair,) = pairs["pairs"]
    assert pair["difference"] == pytest.approx(explained["difference"])
    assert whole["config_differences"] == {}


@pytest.mark.parametrize(
    ("path", "more", "field"),
    [
        ("", {"group": "config.nosuch"}, "group"),
        ("pairs/", {"metric": "nosuch"}, "metric"),
        ("explain/", {"group": "seed"}, "runs"),
    ],
)
def test_what_the_api_cannot_compare_is_refused_by_field(
    client: Client, seeded: seeding.Seeded, path: str, more: dict[str, str], field: str
) -> None:
    ids = ",".join(str(run.pk) for run in seeds(seeded))

    answer = client.get(f"/api/v1/compare/{path}", {"runs": ids, **more})

    assert answer.status_code == 400
    assert field in answer.json()["fields"]
