"""Columns, orders, groups, pins, saved views and notes of the runs table; the same over the API."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from django.test import Client

from webapp.accounts.models import Project, User
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.demo.load import Load, load
from webapp.evaluations.models import Evaluation
from webapp.runs import chunks, metrics
from webapp.runs.columns import chosen, spelled
from webapp.runs.filtering.names import FIELDS, Type
from webapp.runs.filtering.parse import parse
from webapp.runs.grouping import groups
from webapp.runs.models import MetricSummary, Run, RunPin, SavedView, State
from webapp.runs.ordering import Ordered, Scope, Sort
from webapp.runs.results import best_of

HTMX = {"HX-Request": "true"}


@pytest.fixture
def loaded(project: Project, user: User) -> list[Run]:
    return load(
        project=project, by=user, size=Load(runs=90, points=50, curves=2, seed=3), say=lambda _: 0
    )


@pytest.fixture
def evaluated(version: DatasetVersion, feature_set: FeatureSet, make_run: Any) -> Any:
    """Gives a run an evaluation."""

    def make(run: Run, auc: float, **fields: Any) -> Run:
        test = make_run(state=State.SUCCEEDED, kind="evaluate", of_run=run)
        Evaluation.objects.create(
            run=test, of_run=run, version=version, feature_set=feature_set, fingerprint="p",
            selection="last", frame_auc=auc, frame_ap=auc / 2, scores_sha256="", **fields,
        )  # fmt: skip
        return test

    return make


def names(client: Client, query: str) -> list[str]:
    return [row.run.name for row in client.get(f"/runs/?{query}").context["rows"]]


# --- orders ---------------------------------------------------------------------------------

KEYS = [
    "auc", "ap", "patch_auc", "video_auc", "loss", "min(loss/total)", "max(loss/kl)", "config.lr",
    "config.lr_schedule", "took", "ended", "steps", "dataset", "progress", "name",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("query", ["", "kind:train or auc > 0.8"])
def test_every_order_has_each_run_once_and_missing_values_last(
    loaded: list[Run], project: Project, key: str, query: str
) -> None:
    from webapp.runs.filtering.compiling import compiled
    from webapp.runs.table import rows, value

    node = parse(query)
    wanted = compiled(node) if node is not None else None
    scope = Scope(projects=[project.pk], filter=wanted)
    everything = set(scope.runs().values_list("pk", flat=True))
    assert 30 < len(everything) <= 90
    for falling in (False, True):
        ordered = Ordered(scope, Sort.of(f"{'-' if falling else ''}{key}"))
        ids = [pk for at in range(0, 100, 7) for pk in ordered.ids(at, at + 7)]

        assert ordered.count() == len(everything)
        assert len(ids) == len(everything)
        assert set(ids) == everything
        if key in ("name", "dataset", "progress"):
            continue
        (column,) = chosen([key])
        found = [value(row, column) for row in rows(ids, [column])]
        there = [v for v in found if v is not None]
        assert found[: len(there)] == there
        assert there == sorted(there, reverse=falling)
        assert there


def test_the_sort_walks_the_index_and_the_filter_is_asked_once(
    loaded: list[Run], project: Project, django_assert_num_queries: Any
) -> None:
    from webapp.runs.filtering.compiling import compiled

    node = parse("auc > 0.5")
    assert node is not None
    with django_assert_num_queries(1):
        page = Ordered(
            Scope(projects=[project.pk], filter=compiled(node)), Sort("loss", True)
        ).page("1", 5)
        assert len(list(page.object_list)) == 5
        assert page.paginator.count > 5


def test_a_page_that_is_not_there_is_the_last_one(client: Client, loaded: list[Run]) -> None:
    for page in ("99", "0", "x", "-3", "9" * 30):
        for query in ("", "q=kind:train&"):
            assert client.get(f"/runs/?{query}page={page}").context["rows"]


# --- columns --------------------------------------------------------------------------------


def test_columns_stand_in_the_address_in_their_order(client: Client, loaded: list[Run]) -> None:
    given = 'took,config.lr,min(loss/total),last("a,b"),nothing,config.not(hing),notes,took'

    page = client.get("/runs/", {"cols": given})

    shown = page.context["shown"]
    assert [c.key for c in shown.columns] == [
        "took", "config.lr", "min(loss/total)", "last(a,b)", "notes"
    ]  # fmt: skip
    again = chosen([spelled(shown.columns)])
    assert spelled(chosen(["loss,state"])) == "loss,state"
    assert [c.title for c in again][:3] == ["Took", "lr", "min loss/total"]
    text = page.content.decode()
    assert ">1e-4<" in text
    assert "Loss curve" not in text


def test_ticked_boxes_are_columns_too(client: Client, loaded: list[Run]) -> None:
    keys = client.get("/runs/?cols=auc&cols=config.seed").context["shown"].columns

    assert [c.key for c in keys] == ["auc", "config.seed"]


def test_every_field_can_be_a_column(client: Client, loaded: list[Run]) -> None:
    for name, field in FIELDS.items():
        if field.type != Type.LIST and name not in ("name", "sweep"):
            page = client.get("/runs/", {"cols": name})
            assert page.status_code == 200
            assert [c.key for c in page.context["shown"].columns] == [name]
    assert client.get("/runs/?cols=config.resize,progress,curve").status_code == 200


def test_the_chooser_offers_metrics_and_settings_and_keeps_the_rest(
    client: Client, loaded: list[Run]
) -> None:
    text = client.get("/runs/columns/?q=auc&sort=-loss&cols=auc").content.decode()

    assert 'value="max(loss/kl)"' in text
    assert 'value="config.lr"' in text
    assert '<input type="hidden" name="sort" value="-loss">' in text
    assert 'value="auc" checked' in text


def test_live_cells_are_those_of_the_chosen_columns(
    client: Client, make_run: Callable[..., Run]
) -> None:
    run = make_run(state=State.RUNNING, total=10, done=3)
    chunks.append(run, {"loss/total": (np.arange(2), np.array([2.0, 1.5]))})
    page = client.get("/runs/?cols=kind,min(loss/total),config.lr,steps")
    query = page.context["live_query"]

    text = client.get(f"/runs/live/?{query}", headers=HTMX).content.decode()

    assert "1.5000" in text
    assert f'id="steps-{run.pk}" hx-swap-oob="true"' in text
    assert "lr" not in query.split("cols=")[1]
    for part in text.split('id="')[2:]:
        assert f'id="{part.split(chr(34))[0]}"' in page.content.decode()


# --- the filter on the page -----------------------------------------------------------------


def test_a_filter_that_cannot_be_read_is_marked_at_the_place(
    client: Client, loaded: list[Run]
) -> None:
    page = client.get("/runs/", {"q": "auc > 0.8 and confg.lr < 1"})
    text = page.content.decode()

    assert page.status_code == 200
    assert 'value="auc &gt; 0.8 and confg.lr &lt; 1"' in text
    assert "<mark>confg.lr</mark>" in text
    assert "Did you mean config.lr" in text
    assert 'aria-invalid="true"' in text
    assert page.context["rows"] == []


def test_words_and_menus_and_the_language_are_one_filter(
    client: Client, make_run: Callable[..., Run]
) -> None:
    make_run(name="one", tags=["a b"], state=State.SUCCEEDED)
    make_run(name="two", tags=["a b"], state=State.FAILED)

    assert names(client, "tag=a+b&state=failed") == ["two"]
    assert names(client, "q=one+or+two&state=succeeded&kind=train-urdmu&tag=a+b") == ["one"]
    assert names(client, "state=nosuch") == []
    assert names(client, "tag=A+b") == []


# --- groups ---------------------------------------------------------------------------------


def test_seeds_of_one_configuration_are_a_group_with_mean_and_deviation(
    client: Client, make_run: Callable[..., Run], evaluated: Any
) -> None:
    aucs = [0.8, 0.9, 0.86]
    runs = [make_run(name=f"UR-DMU, seed {i}", config={"seed": i, "lr": 1e-3}) for i in range(3)]
    other = make_run(name="UR-DMU slow, seed 0", config={"seed": 0, "lr": 1e-4})
    for run, auc in zip(runs, aucs, strict=True):
        evaluated(run, auc - 0.1)  # an older, worse one
        evaluated(run, auc)

    found = {g.title: g for g in [g for g, _ in client.get("/runs/?group=seeds").context["groups"]]}
    group = found["UR-DMU"]

    assert group.seeds == 3
    assert group.count == 9  # with the evaluate runs
    assert group.auc is not None
    # the older evaluations count through their own evaluate runs: each evaluation once
    values = [a - d for a in aucs for d in (0.1, 0)]
    assert group.auc.n == 6
    assert group.auc.mean == pytest.approx(fmean(values))
    assert group.auc.deviation == pytest.approx(stdev(values))
    assert other.pk in found["UR-DMU slow"].ids
    trained = Run.objects.filter(kind="train-urdmu", name__startswith="UR-DMU,")
    (alone,) = groups(trained, "seeds", Sort())
    assert alone.auc is not None
    assert alone.auc.n == 3
    assert alone.auc.mean == pytest.approx(fmean(aucs))
    assert alone.auc.deviation == pytest.approx(stdev(aucs))


@pytest.mark.parametrize("group", ["tag", "dataset", "kind", "owner", "config.lr", "seeds", "seed",
                                   "config.lr_schedule"])  # fmt: skip
def test_every_group_holds_the_runs_of_its_filter(
    client: Client, loaded: list[Run], project: Project, group: str
) -> None:
    page = client.get("/runs/", {"group": group, "q": "kind:train"})
    found = [g for g, _ in page.context["groups"]]

    if group != "tag":
        assert sum(g.count for g in found) == Run.objects.filter(kind__startswith="train").count()
    assert len({g.key for g in found}) == len(found) > 0
    for each in found[:5]:
        if each.filter:
            alone = client.get("/runs/", {"q": f"kind:train ({each.filter})"})
            assert alone.context["page"].paginator.count == each.count, each.filter
    opened = client.get("/runs/", {"group": group, "q": "kind:train", "open": found[0].key})
    (rows,) = [rows for g, rows in opened.context["groups"] if g.key == found[0].key]
    assert [row.run.pk for row in rows] == list(found[0].ids)[:50]


def test_a_group_is_sorted_by_its_mean(client: Client, loaded: list[Run]) -> None:
    found = [g.auc for g, _ in client.get("/runs/?group=seeds&sort=-auc").context["groups"]]
    means = [spread.mean for spread in found if spread]

    assert means == sorted(means, reverse=True)
    assert found[: len(means)] == [spread for spread in found if spread]


def test_nothing_else_is_grouped_by(client: Client, loaded: list[Run]) -> None:
    for group in ("owner__password", "auc", "config.resize", "config.no,thing", "last(loss/total)"):
        assert client.get("/runs/", {"group": group}).context["groups"] == []


# --- pins -----------------------------------------------------------------------------------


def test_a_pinned_run_stays_on_top_of_one_persons_table(
    client: Client, make_run: Callable[..., Run], make_user: Any, project: Project, sign_in: Any
) -> None:
    run, other = make_run(name="kept"), make_run(name="other")

    client.post("/runs/pin/", {"run": str(run.pk)})
    page = client.get("/runs/?q=other")

    assert [row.run.pk for row in page.context["pinned_rows"]] == [run.pk]
    assert [row.run.pk for row in page.context["rows"]] == [other.pk]
    assert names(client, "") == ["other"]  # once on a page
    elsewhere = sign_in(make_user(project=project)).get("/runs/")
    assert elsewhere.context["pinned_rows"] == []
    client.post("/runs/pin/?action=unpin", {"run": str(run.pk)})
    assert not RunPin.objects.exists()


def test_pins_are_for_what_one_may_see_and_not_without_end(
    client: Client, viewer: User, stranger: User, sign_in: Any, make_run: Callable[..., Run]
) -> None:
    runs = [make_run() for _ in range(21)]

    sign_in(stranger).post("/runs/pin/", {"run": str(runs[0].pk)})
    assert not RunPin.objects.exists()
    sign_in(viewer).post("/runs/pin/", {"run": str(runs[0].pk)})
    assert RunPin.objects.filter(user=viewer).count() == 1
    answer = client.post("/runs/bulk/", {"action": "pin", "run": [str(r.pk) for r in runs]})
    assert answer.status_code == 422
    assert RunPin.objects.filter(user=viewer).count() == RunPin.objects.count()


# --- saved views ----------------------------------------------------------------------------


def test_a_saved_view_is_a_link_for_the_project(
    client: Client, viewer: User, stranger: User, sign_in: Any, make_run: Callable[..., Run]
) -> None:
    make_run()
    query = "q=auc+%3E+0.5&sort=-auc&group=seeds&cols=auc,config.lr&page=7&junk=1"

    client.post("/runs/views/", {"name": " Best  ones ", "query": query})

    view = SavedView.objects.get()
    assert view.name == "Best ones"
    assert "page" not in view.query
    assert "junk" not in view.query
    shown = sign_in(viewer).get(f"/runs/?{view.query}").context["shown"]
    assert (shown.q, str(shown.sort), shown.group) == ("auc > 0.5", "-auc", "seeds")
    assert [c.key for c in shown.columns] == ["auc", "config.lr"]
    assert "Best ones" in sign_in(viewer).get("/runs/").content.decode()
    assert "Best ones" not in sign_in(stranger).get("/runs/views/").content.decode()
    assert sign_in(stranger).post(f"/runs/views/{view.pk}/").status_code == 404
    assert sign_in(viewer).post(f"/runs/views/{view.pk}/").status_code == 404
    assert sign_in(viewer).post("/runs/views/", {"name": "x", "query": ""}).status_code == 403


def test_a_view_is_renamed_and_deleted_and_a_name_is_taken_once(client: Client) -> None:
    for name in ("first", "second"):
        client.post("/runs/views/", {"name": name, "query": "q=a"})
    second = SavedView.objects.get(name="second")

    taken = client.post("/runs/views/", {"name": "first", "query": "q=b"})
    empty = client.post("/runs/views/", {"name": "  ", "query": "q=b"})
    client.post(f"/runs/views/{second.pk}/", {"name": "third"})

    assert taken.status_code == 422
    assert "there is a view first already" in taken.content.decode()
    assert "must not be empty" in empty.content.decode()
    assert SavedView.objects.filter(name="third").exists()
    client.post(f"/runs/views/{second.pk}/", {"action": "delete"})
    assert [v.name for v in SavedView.objects.all()] == ["first"]


# --- notes ----------------------------------------------------------------------------------


def test_notes_are_edited_on_the_run_and_seen_in_the_table(
    client: Client, viewer: User, sign_in: Any, make_run: Callable[..., Run]
) -> None:
    run = make_run()

    client.post(f"/runs/{run.pk}/notes/", {"notes": "  look <here>  "})

    run.refresh_from_db()
    assert run.notes == "look <here>"
    text = client.get("/runs/?cols=notes").content.decode()
    assert text.count("look &lt;here&gt;") >= 3  # the mark's tooltip, the cell and its tooltip
    assert names(client, "q=notes:HERE") == [run.name]
    assert sign_in(viewer).post(f"/runs/{run.pk}/notes/", {"notes": "x"}).status_code == 404
    assert "look &lt;here&gt;" in client.get(f"/runs/{run.pk}/").content.decode()


# --- the API --------------------------------------------------------------------------------


def test_the_api_filters_sorts_and_groups_like_the_page(client: Client, loaded: list[Run]) -> None:
    query = "q=" + quote("kind:train and loss < 5") + "&sort=-loss&cols=loss,config.lr"
    seen, address = [], f"/api/v1/runs/?{query}&limit=20"
    while address:
        data = client.get(address).json()
        seen += data["results"]
        address = data["next"]

    values = [run["values"]["loss"] for run in seen]
    assert len(values) == MetricSummary.objects.filter(key="loss/total", last__lt=5).count()
    assert values == sorted(values, reverse=True)
    assert all(run["values"]["config.lr"] == Run.objects.get(pk=run["id"]).config["lr"]
               for run in seen[:5])  # fmt: skip
    grouped = client.get("/api/v1/runs/?group=seeds&q=kind:train").json()
    assert grouped["results"][0]["auc"].keys() == {"mean", "deviation", "n"}


def test_the_api_names_the_place_in_its_one_shape(client: Client) -> None:
    answer = client.get("/api/v1/runs/", {"q": "auc > 0.8 and acu > 1"})
    error = answer.json()

    assert answer.status_code == 400
    assert error.keys() == {"code", "message", "hint", "problems", "fields"}
    assert error["code"] == "filter-invalid"
    assert (error["fields"]["q.from"], error["fields"]["q.to"]) == ("14", "17")
    assert error["problems"] == ["auc > 0.8 and acu > 1", "              ^^^"]
    for wrong in ("sort=nothing", "group=nothing"):
        refused = client.get(f"/api/v1/runs/?{wrong}")
        assert refused.status_code == 400
        assert refused.json()["fields"].keys() == {wrong.partition("=")[0]}


def test_completion_tells_nobody_of_other_projects(
    client: Client, loaded: list[Run], stranger: User, sign_in: Any
) -> None:
    def tags(browser: Client) -> list[str]:
        found = browser.get("/api/v1/runs/complete/", {"q": "tag:", "at": "4"}).json()
        assert (found["start"], found["end"]) == (4, 4)
        return [p["text"] for p in found["proposals"]]

    assert "paper" in tags(client)
    assert tags(sign_in(stranger)) == []


def test_views_over_the_api(client: Client, viewer: User, sign_in: Any) -> None:
    made = client.post(
        "/api/v1/runs/views/", {"name": "v", "query": "sort=-auc&page=3"}, "application/json"
    )

    assert made.status_code == 201
    assert made.json()["query"] == "sort=-auc"
    (view,) = sign_in(viewer).get("/api/v1/runs/views/").json()["results"]
    assert view["name"] == "v"


# --- the load -------------------------------------------------------------------------------


def test_the_load_is_plausible_and_the_same_for_a_seed(
    loaded: list[Run], project: Project, user: User
) -> None:
    assert len(loaded) == Run.objects.count() == 90
    curve = metrics.read_raw(loaded[0], "loss/total")
    assert len(curve.steps) == 50
    assert curve.values.max() == 9.0
    summary = loaded[0].metric_summaries.get(key="loss/total")
    assert (summary.count, summary.greatest, summary.last) == (50, 9.0, curve.values[-1])
    first = best_of([run.pk for run in loaded], ("auc",))
    again = load(
        project=project, by=user, size=Load(runs=90, points=50, curves=2, seed=3), say=lambda _: 0
    )
    second = best_of([run.pk for run in again], ("auc",))
    assert [b.auc for pk in loaded if (b := first.get(pk.pk))] == [
        b.auc for pk in again if (b := second.get(pk.pk))
    ]
    assert [run.config for run in loaded] == [run.config for run in again]


def test_the_load_leaves_real_runs_alone(
    project: Project, user: User, make_run: Callable[..., Run]
) -> None:
    from vad.errors import VadError

    make_run()

    with pytest.raises(VadError, match="did not make"):
        load(project=project, by=user, size=Load(runs=3, points=5, curves=0))
    assert Run.objects.count() == 1
