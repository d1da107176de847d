"""The parts of a run's page, and the same over the API."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import seeding
from django.test import Client

from webapp.accounts.models import Project, User
from webapp.reports import blocks, services
from webapp.runs import chunks, figures, lineage
from webapp.runs.models import Run, RunEvent, State


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def figure(client: Client, run: Run, name: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/runs/{run.pk}/figures/{name}/", query)
    assert answer.status_code == 200
    return answer.json()


def curve(figure: dict[str, Any], name: str) -> dict[str, Any]:
    return next(t for t in figure["data"] if t.get("meta", {}).get("label") == name)


# --- curves ---------------------------------------------------------------------------------


def test_a_spike_of_one_step_among_a_million_is_seen_and_zoomed_to(
    client: Client, make_run: Callable[..., Run]
) -> None:
    run = make_run(state=State.SUCCEEDED)
    steps = np.arange(1, 300_001)
    values = np.full(len(steps), 0.5)
    values[123_455] = 9.0
    chunks.append(run, {"loss/total": (steps, values)})

    whole = curve(figure(client, run, "loss"), "total")
    zoomed = curve(figure(client, run, "loss", **{"from": 123_000, "to": 123_900}), "total")

    assert len(whole["x"]) <= figures.POINTS
    assert whole["y"][whole["x"].index(123_456)] == 9.0
    inside = [x for x in zoomed["x"] if 123_000 <= x <= 123_900]
    assert inside == list(range(123_000, 123_901))  # every point
    assert zoomed["y"][zoomed["x"].index(123_456)] == 9.0


def test_a_part_between_two_points_shows_the_line_between_them(
    client: Client, seeded: seeding.Seeded
) -> None:
    zoomed = figure(client, seeded.runs["first"], "score", **{"from": 60, "to": 70})

    assert {50, 100} <= set(curve(zoomed, "test frame AUC")["x"])


def test_smoothing_is_of_every_point_and_moves_no_curve_when_zoomed(
    client: Client, make_run: Callable[..., Run]
) -> None:
    from webapp.runs.smoothing import smooth

    run = make_run(state=State.SUCCEEDED)
    steps, values = np.arange(1, 50_001), np.random.default_rng(2).normal(1, 0.3, 50_000)
    chunks.append(run, {"loss/total": (steps, values)})
    exact = smooth(values, 0.9)

    for part in ({}, {"from": 20_000, "to": 20_400}):
        drawn = figure(client, run, "loss", smooth="0.9", **part)
        raw = next(t for t in drawn["data"] if "(raw)" in t["name"])
        line = curve(drawn, "total")
        assert raw["opacity"] < 0.5
        assert line["y"] == pytest.approx(exact[np.array(line["x"]) - 1], rel=1e-5)


def test_axes_are_logarithmic_when_asked_and_a_zoom_ends_with_its_axis(
    client: Client, seeded: seeding.Seeded
) -> None:
    run = seeded.runs["first"]
    usual, logs = figure(client, run, "loss"), figure(client, run, "loss", x="log", y="log")

    assert "type" not in usual["layout"]["xaxis"]
    assert (logs["layout"]["xaxis"]["type"], logs["layout"]["yaxis"]["type"]) == ("log", "log")
    for axis in ("xaxis", "yaxis"):
        assert usual["layout"][axis]["uirevision"] != logs["layout"][axis]["uirevision"]
    assert "type" not in figure(client, run, "terms", y="linear")["layout"]["yaxis"]


def test_what_a_logarithmic_axis_cannot_show_is_counted(
    client: Client, make_run: Callable[..., Run]
) -> None:
    run = make_run(state=State.SUCCEEDED)
    chunks.append(run, {"loss/total": (np.arange(4), np.array([1.0, 0.0, -1.0, 2.0]))})

    assert figure(client, run, "loss", y="log")["note"] == "2 values are not above 0"
    assert "note" not in figure(client, run, "loss")


def test_curves_over_time_are_zoomed_by_seconds(client: Client, seeded: seeding.Seeded) -> None:
    run = seeded.runs["running"]
    seeding.add_usage(run)

    over_time = figure(client, run, "loss", x="time")
    part = figure(client, run, "loss", x="time", **{"from": 60, "to": 120})

    assert over_time["layout"]["xaxis"]["title"]["text"] == "Time since the start (min)"
    assert over_time["x_scale"] == 60
    assert curve(over_time, "total")["x"][-1] == pytest.approx(716 / 60, abs=0.3)
    x = curve(part, "total")["x"]
    assert 0.4 < x[0] < x[-1] < 2.6
    assert figure(client, seeded.runs["first"], "loss", x="time").get("x_scale") is None


def test_what_was_measured_of_the_machine_has_units_and_gaps(
    client: Client, seeded: seeding.Seeded
) -> None:
    run = seeded.runs["running"]
    seeding.add_usage(run)
    shown = client.get(f"/runs/{run.pk}/?tab=system").context["figures"]

    assert [f["id"] for f in shown] == [
        "chart-system-gpu", "chart-system-gpu-memory", "chart-system-gpu-power",
        "chart-system-cpu", "chart-system-memory", "chart-system-storage", "chart-system-steps",
    ]  # fmt: skip
    memory = figure(client, run, "system-memory")
    assert memory["layout"]["yaxis"]["title"]["text"] == "Resident (GB)"
    line = curve(memory, "all processes")
    assert 0.7 < line["y"][0] < 1.1
    assert line["y"].count(None) == 1  # the pause between two attempts
    assert {t["meta"]["label"] for t in figure(client, run, "system-storage")["data"]} == {
        "read", "written",
    }  # fmt: skip
    overview = client.get(f"/runs/{run.pk}/").context["figures"]
    assert not [f for f in overview if "system" in f["id"]]


@pytest.mark.parametrize(
    ("address", "view"),
    [
        ("", figures.USUAL),
        ("smooth=0.6&x=log&y=log", figures.View(smoothing=0.6, x="log", y="log")),
        ("smooth=1&x=sideways&y=3", figures.USUAL),
        ("smooth=nan&x=time", figures.View(x="time")),
        ("smooth=-2", figures.USUAL),
    ],
)
def test_a_view_is_an_address(
    client: Client, seeded: seeding.Seeded, address: str, view: figures.View
) -> None:
    page = client.get(f"/runs/{seeded.runs['first'].pk}/?{address}")

    assert page.context["view"] == view
    for shown in page.context["figures"]:
        given = {k: v[0] for k, v in parse_qs(urlsplit(shown["src"]).query).items()}
        assert figures.View.of(given) == view


def test_charts_are_found_by_title_and_metric(client: Client, seeded: seeding.Seeded) -> None:
    page = client.get(f"/runs/{seeded.runs['first'].pk}/?q=TRIPLET")

    assert [f["id"] for f in page.context["figures"] if not f["hidden"]] == ["chart-terms"]


# --- the log --------------------------------------------------------------------------------


def test_a_search_shows_hits_of_the_whole_log(client: Client, seeded: seeding.Seeded) -> None:
    run = seeded.runs["running"]
    page = client.get(f"/runs/{run.pk}/", {"tab": "log", "find": "STEP 50", "hit": 2, "context": 0})
    text = page.content.decode()

    assert page.context["found"].hits == 3  # 50, 500, 505
    assert 'id="hit-2"' in text
    assert "<mark>step 50</mark>" in text
    assert "log-poll" not in text
    assert "hit=3#hit-3" in page.context["forth"]


def test_a_filter_by_level_and_a_line_in_its_place(client: Client, seeded: seeding.Seeded) -> None:
    run = seeded.runs["failed"]
    address = f"/runs/{run.pk}/"
    found = client.get(address, {"tab": "log", "level": "error"}).context["found"]
    line = next(line for line in found.passages[0].lines if line.hit)

    assert found.hits == 1
    place = client.get(address, {"tab": "log", "file": "log.txt", "at": line.offset})
    assert place.context["here"] == line.number
    assert 'id="here"' in place.content.decode()


def test_a_search_over_the_api(client: Client, seeded: seeding.Seeded, stranger: User) -> None:
    address = f"/api/v1/runs/{seeded.runs['running'].pk}/log/search/"
    found = client.get(address, {"find": "gpu is shared", "level": "warning", "context": 1}).json()

    assert (found["hits"], found["first"], found["last"]) == (1, 1, 1)
    lines = found["passages"][0]["lines"]
    assert [line["hit"] for line in lines] == [None, 1, None]
    assert lines[1]["level"] == "warning"
    assert client.get(address).status_code == 400
    assert client.get(address, {"find": "x", "level": "loud"}).status_code == 400
    other = Client()
    other.force_login(stranger)
    assert other.get(address, {"find": "x"}).status_code == 404


# --- checkpoints ----------------------------------------------------------------------------


def test_a_checkpoint_is_fetched_by_those_who_may_see_its_run(
    client: Client, seeded: seeding.Seeded, stranger: User
) -> None:
    run = seeded.runs["second"]
    seeding.add_checkpoint_files(run, [300])
    address = f"/runs/{run.pk}/checkpoints/300/file/"

    answer = client.get(address)
    assert b"".join(answer.streaming_content) == b"weights of step 300"
    assert answer["Content-Disposition"].startswith("attachment; filename=")
    assert "step-300.safetensors" in answer["Content-Disposition"]
    part = client.get(address, headers={"Range": "bytes=0-6"})
    assert (part.status_code, b"".join(part.streaming_content)) == (206, b"weights")
    assert client.get(f"/runs/{run.pk}/checkpoints/200/file/").status_code == 404
    other = Client()
    other.force_login(stranger)
    assert other.get(address).status_code == 404


def test_no_path_leads_out_of_the_runs_folder(client: Client, seeded: seeding.Seeded) -> None:
    run = seeded.runs["second"]
    (run.folder.parent / "secret").write_text("x")
    run.checkpoints.filter(step=300).update(path="../secret")

    assert client.get(f"/runs/{run.pk}/checkpoints/300/file/").status_code == 404


@pytest.mark.parametrize(
    ("sort", "first"), [("", 600), ("step", 100), ("validation/video_auc", 100), ("nonsense", 600)]
)
def test_checkpoints_are_sorted(
    client: Client, seeded: seeding.Seeded, sort: str, first: int
) -> None:
    run = seeded.runs["second"]
    seeding.add_checkpoint_files(run, [300, 600])
    page = client.get(f"/runs/{run.pk}/", {"tab": "checkpoints", "sort": sort})
    rows = page.context["checkpoints"]

    assert rows[0].checkpoint.step == first
    assert sorted(row.checkpoint.step for row in rows if row.kept) == [300, 600]
    assert page.content.decode().count("checkpoint=last") == 1


def test_an_evaluation_of_the_last_checkpoint_is_one_click_away(
    client: Client, seeded: seeding.Seeded
) -> None:
    run = seeded.runs["second"]
    form = client.get(f"/runs/new/?kind=evaluate&of={run.pk}&checkpoint=last")

    assert form.context["values"]["checkpoint"] == "last"
    assert '<option value="last" selected>' in form.content.decode()


# --- configuration --------------------------------------------------------------------------


def test_only_what_differs_is_listed_until_all_is_asked_for(
    client: Client, seeded: seeding.Seeded
) -> None:
    address = f"/runs/{seeded.runs['second'].pk}/?tab=config"

    def names(query: str) -> list[str]:
        return [row.name for row in client.get(address + query).context["compared"].rows]

    assert set(names("")) == {"lr", "seed", "selection", "dropout"}
    assert set(names("&base=defaults")) == {"num_epochs", "lr", "seed", "selection", "dropout"}
    everything = names("&fields=all")
    assert set(everything[:4]) == set(names(""))
    assert len(everything) == len(seeded.runs["second"].config)


def test_what_a_run_was_made_of_is_told(client: Client, seeded: seeding.Seeded) -> None:
    run = seeded.runs["running"]
    seeding.add_usage(run)
    Run.objects.filter(pk=run.pk).update(
        environment=Run.objects.get(pk=run.pk).environment | {"features_sha256": "cd" * 32}
    )

    page = client.get(f"/runs/{run.pk}/?tab=config")
    facts = {f.name: f for s in page.context["sections"] for f in s.facts}

    assert facts["Commit"].warning == "Files were changed since this commit."
    assert facts["Their fingerprint"].value == "cd" * 32
    assert "other features" in facts["Their fingerprint"].warning
    assert facts["Its fingerprint"].value == seeded.version.fingerprint
    assert (facts["Seed"].value, facts["CUDA"].value) == (3, "13.0")
    assert "Pid" not in facts
    assert "python manage.py run_submit train-urdmu" in page.content.decode()


def test_an_evaluation_tells_what_it_scored(client: Client, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]
    page = client.get(f"/runs/{evaluation.pk}/?tab=config")
    facts = {f.name: f.value for s in page.context["sections"] for f in s.facts}

    assert facts["Checkpoint, step 300"] == evaluation.checkpoint.sha256
    assert facts["Scores"] == evaluation.scores_sha256


# --- events ---------------------------------------------------------------------------------


def test_events_are_filtered_by_what_and_who(client: Client, seeded: seeding.Seeded) -> None:
    run = seeded.runs["held"]
    RunEvent.objects.create(run=run, kind="lost", message="killed by SIGKILL")
    address = f"/runs/{run.pk}/?tab=events"

    def kinds(query: str) -> list[str]:
        return [e.kind for e in client.get(address + query).context["happened"].events]

    assert kinds("") == ["lost", "held", "created"]
    assert kinds("&event=held") == ["held"]
    assert kinds("&by=the+worker") == ["lost"]
    assert kinds(f"&by={seeded.user.username}") == ["held", "created"]
    assert kinds("&q=sigkill") == ["lost"]
    assert kinds("&q=nothing+of+this") == []
    api = client.get(f"/api/v1/runs/{run.pk}/events/?event=lost").json()["results"]
    assert [e["kind"] for e in api] == ["lost"]


# --- lineage --------------------------------------------------------------------------------


def graph(client: Client, run: Run, query: str = "") -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Titles with what they are, and edges between titles."""
    found = client.get(f"/api/v1/runs/{run.pk}/lineage/{query}").json()
    title = {n["id"]: f"{n['kind']} {n['title']}" for n in found["nodes"]}
    return title, {(title[e["from"]], title[e["to"]]) for e in found["edges"]}


def test_a_training_stands_between_its_data_and_its_numbers(
    client: Client, seeded: seeding.Seeded
) -> None:
    first = seeded.runs["first"]
    _, edges = graph(client, first)

    run = f"run {first.name}"
    assert edges == {
        ("dataset campus v1", "features motion features of campus v1"),
        ("features motion features of campus v1", run),
        (run, "checkpoint step 300"),
        (run, "checkpoint step 600"),
        ("checkpoint step 300", f"evaluation Evaluate {first.name}"),
    }
    _, more = graph(client, first, "?clones=yes")
    assert more - edges == {(run, f"run {seeded.runs['second'].name}")}


def test_reports_stand_behind_what_they_show(client: Client, seeded: seeding.Seeded) -> None:
    first, second, evaluation = seeded.runs["first"], seeded.runs["second"], seeded.evaluations[0]
    make = partial(services.report_create, project=seeded.project, by=seeded.user)
    make(title="Both", given=[blocks.panel("roc", evaluations=[str(evaluation.pk)])])
    curves = blocks.panel("curves", runs=[str(first.pk)], key="loss/total")
    make(title="Losses", given=[curves, blocks.text_block(f"Beside {second.pk}")])

    _, edges = graph(client, first)
    behind = (f"evaluation Evaluate {first.name}", "report Both")
    assert {edge for edge in edges if "report" in edge[1]} == {
        behind, (f"run {first.name}", "report Losses"),
    }  # fmt: skip
    assert behind in graph(client, evaluation.run)[1]
    assert not [edge for edge in graph(client, second)[1] if "report" in edge[1]]


def test_weights_of_another_run_lead_to_what_starts_from_them(
    client: Client, seeded: seeding.Seeded
) -> None:
    first, second = seeded.runs["first"], seeded.runs["second"]
    second.config["pretrained_point"] = f"run:{first.pk}"
    second.cloned_from = None
    second.save()

    for run in (first, second):
        _, edges = graph(client, run)
        assert ("checkpoint step 300", f"run {second.name}") in edges


def test_every_kind_of_run_has_its_lineage(client: Client, seeded: seeding.Seeded) -> None:
    runs, evaluation = seeded.runs, seeded.evaluations[0]

    _, of_evaluation = graph(client, evaluation.run)
    assert ("checkpoint step 300", f"evaluation {evaluation.run.name}") in of_evaluation
    _, of_extract = graph(client, runs["extract"])
    assert ("dataset campus v1", f"run {runs['extract'].name}") in of_extract
    assert (f"run {runs['extract'].name}", f"features {runs['extract'].name}") in of_extract
    _, of_register = graph(client, runs["register"])
    assert ("run Register campus", "dataset campus v1") in of_register
    for run in Run.objects.all():
        assert client.get(f"/runs/{run.pk}/?tab=lineage").status_code == 200, run.kind


def test_what_one_may_not_see_is_in_no_lineage(
    client: Client, seeded: seeding.Seeded, stranger: User
) -> None:
    first, second = seeded.runs["first"], seeded.runs["second"]
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    Run.objects.filter(pk=first.pk).update(project=elsewhere)

    titles, _ = graph(client, second)

    assert f"run {first.name}" not in titles.values()
    for tab in ("overview", "config", "lineage"):
        text = client.get(f"/runs/{second.pk}/?tab={tab}").content.decode()
        assert str(first.pk) not in text, tab
    other = Client()
    other.force_login(stranger)
    assert other.get(f"/api/v1/runs/{second.pk}/lineage/").status_code == 404


def test_many_children_are_one_box_more(client: Client, seeded: seeding.Seeded) -> None:
    first = seeded.runs["first"]
    for i in range(12):
        Run.objects.create(
            project=first.project, owner=first.owner, name=f"clone {i}", kind=first.kind,
            config=first.config, cloned_from=first,
        )  # fmt: skip

    titles, _ = graph(client, first, "?clones=yes")

    assert "more 5 more runs" in titles.values()
    assert sum(t.startswith("run clone") for t in titles.values()) == lineage.MOST - 1


def test_the_outline_says_what_the_picture_shows(client: Client, seeded: seeding.Seeded) -> None:
    page = client.get(f"/runs/{seeded.runs['first'].pk}/?tab=lineage")

    def titles(items: list[lineage.Item]) -> set[str]:
        return {i.node.id for i in items} | {t for i in items for t in titles(i.items)}

    assert titles(page.context["outline"]) == set(page.context["graph"].nodes)
    boxes = [{box.node.id for box in picture.boxes} for picture in page.context["pictures"]]
    assert boxes == [set(page.context["graph"].nodes)] * 2


def test_the_api_tells_how_to_do_a_run_again(client: Client, seeded: seeding.Seeded) -> None:
    seeding.add_checkpoint_files(seeded.runs["first"], [300])
    run = client.get(f"/api/v1/runs/{seeded.runs['first'].pk}/").json()
    checkpoints = client.get(f"/api/v1/runs/{seeded.runs['first'].pk}/checkpoints/").json()

    assert run["commands"]["On this server"].startswith("python manage.py run_submit")
    files = {c["step"]: c["file"] for c in checkpoints["results"]}
    assert files[300].endswith("/checkpoints/300/file/")
    assert files[100] is None
