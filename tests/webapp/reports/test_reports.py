"""Reports: blocks, revisions, panels live and frozen, rechecking, comments, files."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import seeding
from django.test import Client

from vad.errors import ConfigError, VadError
from vad.evaluation.scores import ScoreSet
from webapp.accounts.models import Project, Role, User
from webapp.core.schema_views import document
from webapp.evaluations import scores as store
from webapp.reports import blocks, content, offline, pdf, prose, queries, ready, recheck, services
from webapp.reports.content import Content, number
from webapp.reports.models import Comment, Report, Revision
from webapp.runs.models import Run


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture
def make(user: User, project: Project) -> Callable[..., Report]:
    def made(*given: dict[str, Any]) -> Report:
        return services.report_create(project=project, title="Findings", given=list(given), by=user)

    return made


def newest(report: Report) -> list[dict[str, Any]]:
    return queries.revision_of(report).blocks


# --- what a report shows --------------------------------------------------------------------


def test_a_ready_made_report_shows_every_panel(
    client: Client, seeded: seeding.Seeded, settings: Any
) -> None:
    evaluation = seeded.evaluations[0]
    seeding.add_maps(seeded, evaluation)

    answer = client.post("/reports/make/", {"evaluation": str(evaluation.pk)}, follow=True)

    shown = answer.context["blocks"]
    assert [b.error for b in shown if b.error] == []
    assert {b.block["kind"] for b in shown} == {
        "text", "numbers", "roc", "pr", "classes", "videos", "moment", "protocol", "settings",
        "provenance", "reproduce",
    }  # fmt: skip
    text = answer.content.decode()
    assert f"{evaluation.metrics['auc']:.4f}" in text
    assert "manage.py run_submit" in text
    assert "$VADLAB_DATA_DIR/datasets/" in text
    assert str(settings.DATA_DIR) not in text
    assert text.count("data:image/webp;base64,") == 4


def test_a_comparison_becomes_a_report_of_its_runs(client: Client, seeded: seeding.Seeded) -> None:
    runs = [str(seeded.runs[name].pk) for name in ("first", "second")]

    answer = client.post("/reports/make/", {"run": runs}, follow=True)

    numbers = next(b for b in answer.context["blocks"] if b.block["kind"] == "numbers")
    assert [c["title"] for c in numbers.content.tables[0]["columns"][1:]] == [
        seeded.runs["first"].name, seeded.runs["second"].name,
    ]  # fmt: skip


def test_the_other_panels_read_what_is_there(make: Any, seeded: seeding.Seeded) -> None:
    run = seeded.runs["first"].pk
    report = make(
        blocks.panel("curves", runs=[run], key="loss/total"),
        blocks.panel(
            "runs", q="kind = train-urdmu and auc > 0.5", sort="-auc", cols="auc,tag,created"
        ),
        blocks.panel("runs", q="auc >", sort="", cols=""),
        blocks.panel("settings", runs=[run, seeded.runs["second"].pk]),
    )

    curves, found, wrong, settings = queries.shown(queries.revision_of(report))

    assert curves.content.figures[0]["data"]
    assert [row[0] for row in found.content.tables[0]["rows"]] == [
        seeded.runs["first"].name, seeded.runs["second"].name,
    ]  # fmt: skip
    assert wrong.error.code == "filter-invalid"
    assert ["lr", "1e-4", "3e-4"] in settings.content.tables[0]["rows"]


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](data:text/html;base64,AAAA)",
        "![a](https://elsewhere.example/pixel.png)",
        '<a href="https://x" style="position:fixed">a</a>',
        "[a]: javascript:alert(1)\n\n[a]",
        "`</script><script>alert(1)</script>`",
    ],
)
def test_text_can_do_nothing_but_be_read(hostile: str) -> None:
    drawn = prose.to_html(hostile)

    tags = re.findall(r"<(/?\w+)([^>]*)>", drawn)
    assert {name.strip("/") for name, _ in tags} <= {"p", "a", "code"}
    assert all("script" not in rest and "style" not in rest for _, rest in tags)
    assert not re.search(r'href="(?!https?:|mailto:)', drawn)


def test_markdown_is_drawn_below_the_title() -> None:
    drawn = prose.to_html("# One\n\n**two** [three](https://example.org)\n\n| a |\n|---|\n| b |")

    assert "<h2>One</h2>" in drawn
    assert "<strong>two</strong>" in drawn
    assert 'rel="noopener noreferrer nofollow"' in drawn
    assert "<td>b</td>" in drawn


# --- saving ---------------------------------------------------------------------------------


def test_every_save_is_a_revision_and_an_old_one_comes_back(make: Any, user: User) -> None:
    report = make(blocks.text_block("first"))
    services.report_save(
        report=report, title="Better", given=[blocks.text_block("second")], by=user, base=1
    )

    services.report_restore(report=report, number=1, by=user)

    assert [r.number for r in report.revisions.all()] == [3, 2, 1]
    assert [b["text"] for b in newest(report)] == ["first"]
    report.refresh_from_db()
    assert report.title == "Findings"
    with pytest.raises(TypeError):
        Revision.objects.first().save()


def test_who_saves_over_somebody_else_is_told_and_loses_nothing(
    client: Client, make: Any, user: User
) -> None:
    report = make(blocks.text_block("first"))
    services.report_save(report=report, title="Theirs", given=[], by=user)
    block = blocks.text_block("mine")
    form = {
        "title": "Mine", "base": "1", "block": block["id"], f"{block['id']}-kind": "text",
        f"{block['id']}-text": "what I wrote", "action": "save",
    }  # fmt: skip

    answer = client.post(f"/reports/{report.pk}/edit/", form)

    assert answer.status_code == 409
    assert "what I wrote" in answer.content.decode()
    assert report.revisions.count() == 2


def test_the_form_adds_moves_and_removes_without_saving(client: Client, make: Any) -> None:
    report = make()
    one, two = blocks.text_block(""), blocks.text_block("")
    form = {"title": "T", "base": "1", "block": [one["id"], two["id"]]}
    for block, text in ((one, "one"), (two, "two")):
        form |= {f"{block['id']}-kind": "text", f"{block['id']}-text": text}

    def after(action: str) -> list[str]:
        answer = client.post(f"/reports/{report.pk}/edit/", {**form, "action": action})
        return [f.block.get("text", f.block["kind"]) for f in answer.context["blocks"]]

    assert after(f"down-{one['id']}") == ["two", "one"]
    assert after(f"up-{two['id']}") == ["two", "one"]
    assert after(f"remove-{one['id']}") == ["two"]
    assert after("add-roc") == ["one", "two", "roc"]
    assert report.revisions.count() == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("text", "blocks"),
        ([{"kind": "nothing"}], "1.kind"),
        ([{"kind": "text", "text": 3}], "1.text"),
        ([{"kind": "text", "text": "x" * 50_001}], "1.text"),
        ([{"kind": "text", "text": "\ud800"}], "1.text"),
        ([{"kind": "text", "onload": "x"}], "1.onload"),
        ([{"kind": "roc"}], "1.evaluations"),
        ([{"kind": "roc", "evaluations": ["../../etc"]}], "1.evaluations"),
        ([{"kind": "moment", "evaluations": [], "video": "a", "frame": -1}], "1.frame"),
        ([{"kind": "moment", "evaluations": [], "video": "a", "frame": float("nan")}], "1.frame"),
        ([{"kind": "runs", "frozen": "0123"}], "1.frozen"),
        ([{"id": "aaaaaaaa", "kind": "text"}, {"id": "aaaaaaaa", "kind": "text"}], "2.id"),
        ([{"kind": "text"}] * 101, "blocks"),
    ],
)
def test_a_block_that_cannot_be_is_named_and_nothing_is_saved(
    given: Any, field: str, user: User, project: Project
) -> None:
    with pytest.raises(ConfigError) as raised:
        services.report_create(project=project, title="T", given=given, by=user)

    assert field in raised.value.fields
    assert not Report.objects.exists()


def test_a_panel_shows_nothing_of_another_project(seeded: seeding.Seeded, stranger: User) -> None:
    """Refused when it is saved, and not drawn where it stands in the database all the same."""
    theirs = Project.objects.get(membership__user=stranger)
    panels = [
        blocks.panel("roc", evaluations=[seeded.evaluations[0].pk]),
        blocks.panel("settings", runs=[seeded.runs["first"].pk]),
    ]
    with pytest.raises(ConfigError) as raised:
        services.report_create(project=theirs, title="T", given=panels, by=stranger)
    report = Report.objects.create(project=theirs, title="T", owner=stranger)
    Revision.objects.create(report=report, number=1, title="T", blocks=panels, by=stranger)

    shown = queries.shown(queries.revision_of(report))

    assert set(raised.value.fields) == {"1.evaluations", "2.runs"}
    assert [block.error.code for block in shown] == ["not-found", "not-found"]


# --- frozen ---------------------------------------------------------------------------------


@pytest.fixture
def frozen(make: Any, seeded: seeding.Seeded, user: User) -> Report:
    evaluation = seeded.evaluations[0]
    seeding.add_maps(seeded, evaluation)
    _, given = ready.of_evaluation(evaluation)
    report = make(*given)
    services.report_freeze(report=report, by=user)
    return report


def test_recheck_says_identical_until_a_score_file_changes(
    frozen: Report, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[0]
    before = recheck.recheck(queries.revision_of(frozen))
    scores = ScoreSet.load(evaluation.scores_path)
    replace(scores, scores=scores.scores[::-1].copy()).save(evaluation.scores_path)

    after = {f.block["kind"]: f for f in recheck.recheck(queries.revision_of(frozen))}

    assert len(before) >= 10
    assert [f.differences for f in before if f.state != "identical"] == []
    assert after["numbers"].state == "drifted"
    assert "the file is" in after["numbers"].differences[0]
    assert any(line.startswith("auc of") for line in after["numbers"].differences)
    assert after["settings"].state == "identical"


def test_a_frozen_panel_keeps_its_numbers_and_a_live_one_follows(
    make: Any, seeded: seeding.Seeded, user: User
) -> None:
    evaluation = seeded.evaluations[0]
    panel = blocks.panel("numbers", evaluations=[evaluation.pk])
    report = make(panel, {**panel, "id": blocks.new_id(), "frozen": "now"})
    before = evaluation.metrics["auc"]
    evaluation.metrics = {**evaluation.metrics, "auc": 0.5}
    evaluation.save()

    live, kept = queries.shown(queries.revision_of(report))

    auc = [block.content.tables[0]["rows"][0][1]["value"] for block in (live, kept)]
    assert auc == [0.5, before]
    (finding,) = recheck.recheck(queries.revision_of(report))
    assert finding.state == "drifted"
    assert any("was" in line and "0.5" in line for line in finding.differences)


def test_when_a_run_is_deleted_a_live_panel_says_so_and_a_frozen_one_stays(
    make: Any, seeded: seeding.Seeded, user: User
) -> None:
    run = seeded.runs["second"]
    panel = blocks.panel("settings", runs=[run.pk])
    report = make(panel, {**panel, "id": blocks.new_id(), "frozen": "now"})
    Run.objects.filter(pk=run.pk).delete()

    live, kept = queries.shown(queries.revision_of(report))
    saved = services.report_save(report=report, title="T", given=newest(report), by=user)

    assert "was deleted" in live.error.message
    assert kept.content.title.endswith(run.name)
    assert recheck.recheck(saved)[0].state == "gone"


def test_a_frozen_panel_that_is_changed_is_frozen_anew(
    make: Any, seeded: seeding.Seeded, user: User
) -> None:
    first, second = seeded.runs["first"].pk, seeded.runs["second"].pk
    report = make({**blocks.panel("settings", runs=[first]), "frozen": "now"})
    (panel,) = newest(report)

    services.report_save(
        report=report, title="T", given=[{**panel, "runs": [str(second)]}], by=user
    )

    (changed,) = newest(report)
    assert changed["frozen"] != panel["frozen"]
    assert recheck.recheck(queries.revision_of(report))[0].state == "identical"


def test_a_digest_leaves_out_pixels_and_finds_every_number() -> None:
    def made(src: str, value: float) -> Content:
        table = {"title": "", "columns": [], "rows": [["a", number(value)]]}
        return Content(title="T", tables=[table], picture={"src": src, "alt": "a"})

    def digest(src: str, value: float) -> str:
        return content.digest(made(src, value), {"kind": "numbers"})

    assert digest("one", 0.25) == digest("two", 0.25)
    assert digest("one", 0.25) != digest("one", 0.2500001)
    assert content.differences(made("", 0.25), made("", 0.5)) == [
        "tables 1.rows 1 2.value: was 0.25, is 0.5"
    ]


# --- comments -------------------------------------------------------------------------------


def test_comments_are_cleaned_and_deleted_by_who_may(
    client: Client, make: Any, make_user: Any, sign_in: Any, project: Project
) -> None:
    report = make(blocks.panel("runs"))
    block = newest(report)[0]["id"]
    address = f"/reports/{report.pk}/comments/"
    client.post(address, {"block": block, "text": "<b onclick=x>see</b> **this**"})
    comment = Comment.objects.get()
    page = client.get(f"/reports/{report.pk}/").content.decode()
    other = sign_in(make_user(project=project, role=Role.MEMBER))
    admin = sign_in(make_user(project=project, role=Role.ADMIN))

    refused = other.post(f"{address}{comment.pk}/delete/")
    admin.post(f"{address}{comment.pk}/delete/")

    assert "<strong>this</strong>" in page
    assert "<b onclick" not in page
    assert refused.status_code == 403
    assert not Comment.objects.exists()
    assert client.post(address, {"block": "ffffffff", "text": "x"}).status_code == 422


# --- files ----------------------------------------------------------------------------------


def test_a_report_as_a_file_and_its_tables_as_latex(
    client: Client, make: Any, seeded: seeding.Seeded
) -> None:
    one = [seeded.evaluations[0].pk]
    report = make(*(blocks.panel(kind, evaluations=one) for kind in ("numbers", "roc", "videos")))
    page = offline.html(queries.revision_of(report))

    answer = client.get(f"/reports/{report.pk}/export/tex/")

    assert "default-src 'none'" in page
    without_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r'\b(?:src|href)="(?!data:|#)', without_scripts)
    assert not re.search(r"^(?:import|export) ", page, flags=re.M)
    assert page.count("</script>") == page.count("<script")
    text = answer.content.decode()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert re.search(r"AUC & 0\.\d{4} \{\[\}0\.\d{3}, 0\.\d{3}\{\]\} \\\\", text)
    assert r"test/running\_" in text
    assert "attachment" in answer["Content-Disposition"]


def test_without_chromium_the_pdf_says_what_to_do(client: Client, make: Any, settings: Any) -> None:
    settings.CHROMIUM = ""
    report = make(blocks.text_block("a"))

    answer = client.get(f"/reports/{report.pk}/export/pdf/")

    assert answer.status_code == 503
    assert "print it in your browser" in answer.content.decode()
    settings.CHROMIUM = "/nonexistent/chromium"
    with pytest.raises(VadError) as raised:
        pdf.pdf(queries.revision_of(report))
    assert raised.value.code == "pdf-unavailable"


def test_the_api_does_what_the_pages_do(client: Client, seeded: seeding.Seeded) -> None:
    asked = {"content_type": "application/json"}
    made = client.post(
        "/api/v1/reports/", {"evaluation": str(seeded.evaluations[1].pk)}, **asked
    ).json()
    address = f"/api/v1/reports/{made['id']}/"
    saved = client.patch(address, {"title": "Mine", "base": 1}, **asked).json()
    late = client.patch(address, {"title": "Theirs", "base": 1}, **asked)
    client.post(f"{address}freeze/", {}, **asked)
    panels = client.get(address, {"panels": "yes"}).json()["panels"]
    rechecked = client.get(f"{address}recheck/").json()

    assert (saved["title"], saved["revision"]["number"]) == ("Mine", 2)
    assert (late.status_code, late.json()["code"]) == (409, "report-changed")
    assert all(panel.get("frozen_at") for panel in panels.values())
    assert rechecked["summary"] == {"identical": len(panels), "drifted": 0, "gone": 0}
    assert client.get(f"{address}revisions/1/").json()["title"] == made["title"]
    assert client.get("/api/v1/reports/?limit=1").json()["results"][0]["title"] == "Mine"
    assert client.delete(address).status_code == 204
    assert store.load(seeded.evaluations[1])


def test_every_panel_is_as_the_document_says(client: Client, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]
    seeding.add_maps(seeded, evaluation)
    one, runs = [str(evaluation.pk)], [str(seeded.runs["first"].pk), str(seeded.runs["second"].pk)]
    key = store.load(evaluation).keys[0]
    given = [
        *(blocks.panel(kind, evaluations=one) for kind in ("numbers", "classes", "videos")),
        *(blocks.panel(kind, evaluations=one) for kind in ("roc", "pr", "protocol")),
        blocks.panel("moment", evaluations=one, video=key, frame=3),
        blocks.panel("curves", runs=runs, key="loss/total"),
        blocks.panel("curves", runs=runs, key="nothing"),
        blocks.panel("runs", q="", sort="", cols=""),
        blocks.panel("settings", runs=runs),
        *(blocks.panel(kind, runs=runs[:1]) for kind in ("provenance", "reproduce")),
    ]
    asked = {"content_type": "application/json"}
    body = {"title": "All", "blocks": [*given, blocks.text_block("a")]}
    made = client.post("/api/v1/reports/", body, **asked).json()
    client.post(f"/api/v1/reports/{made['id']}/freeze/", {"freeze": "no"}, **asked)

    answer = client.get(f"/api/v1/reports/{made['id']}/", {"panels": "yes"}).json()

    assert [list(p) for p in answer["panels"].values() if "error" in p] == [["error"]]
    known = copy.deepcopy(document()["components"])
    for schema in known["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    schema = {"$ref": "#/components/schemas/ReportDetail", "components": known}
    found = jsonschema.Draft202012Validator(schema).iter_errors(answer)
    assert not [f"{one.json_path}: {one.message[:200]}" for one in found]


def test_a_report_is_not_changed_unseen(client: Client, make: Any) -> None:
    address = f"/api/v1/reports/{make().pk}/"
    asked = {"content_type": "application/json"}
    read = client.get(address)

    saved = client.patch(address, {"title": "B"}, headers={"If-Match": read["ETag"]}, **asked)
    late = client.patch(address, {"title": "C"}, headers={"If-Match": read["ETag"]}, **asked)
    old = client.get(address, {"revision": 1})
    kept = client.delete(address, headers={"If-Match": old["ETag"]})

    assert saved.json()["changed_at"] > read.json()["changed_at"]
    assert (late.status_code, kept.status_code) == (412, 412)
    assert client.get(address).json()["title"] == "B"
    assert client.delete(address, headers={"If-Match": saved["ETag"]}).status_code == 204


def test_what_is_sent_twice_is_one_revision_and_one_link(client: Client, make: Any) -> None:
    report = make()
    address = f"/api/v1/reports/{report.pk}/"
    asked: dict[str, Any] = {
        "content_type": "application/json",
        "headers": {"Idempotency-Key": "a"},
    }

    restored = [client.post(f"{address}revisions/1/", {}, **asked) for _ in range(2)]
    shared = [client.post(f"{address}links/", {"days": 2}, **asked) for _ in range(2)]

    assert restored[0].json() == restored[1].json()
    assert (report.revisions.count(), report.links.count()) == (2, 1)
    assert [answer.status_code for answer in shared] == [201, 409]


@pytest.mark.parametrize("wrong", [{"kind": []}, {"kind": "text", "id": {"a": 1}}])
def test_a_block_of_another_shape_is_refused(client: Client, project: Project, wrong: Any) -> None:
    body = {"title": "A", "blocks": [wrong, wrong]}

    answer = client.post("/api/v1/reports/", body, content_type="application/json")

    assert answer.status_code == 422
    assert set(answer.json()["fields"]) <= {"1.kind", "2.kind", "1.id", "2.id"}


def test_a_cursor_of_the_history_that_is_no_number_is_404(client: Client, make: Any) -> None:
    cursor = base64.b64encode(b"p=abc").decode()

    answer = client.get(f"/api/v1/reports/{make().pk}/revisions/", {"cursor": cursor})

    assert answer.status_code == 404


def test_a_body_that_is_nested_without_end_is_malformed(client: Client, project: Project) -> None:
    body = f'{{"title": "A", "blocks": {"[" * 400}{"]" * 400}}}'

    answer = client.post("/api/v1/reports/", body, content_type="application/json")

    assert answer.status_code == 400
