"""Known holes of experiment servers, as real requests: each case is one that some server had.

What has a test of its own elsewhere is not repeated: who may what (test_every_route), addresses of
webhooks (notify/test_addresses), sound uploads (external/test_uploads), damaged data sets
(tests/vad/data/test_mutated), settings behind TLS (test_deploy_settings).
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import seeding
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from webapp.accounts.models import Project, User
from webapp.external import uploads
from webapp.runs.models import Run

ROOT = Path(__file__).parents[3]
SECRET = "do-not-show-this"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)></textarea>"
RAW = re.compile(r"<script>alert|<img src=x|</textarea>\S*alert", re.I)

PATHS = (
    "../secret_key",  # one folder up
    "..%2fsecret_key",  # encoded once
    "%2e%2e%2fsecret_key",  # all of it encoded
    "..%252fsecret_key",  # encoded twice
    "....//secret_key",  # what is left when "../" is cut out once
    "a/../../secret_key",  # from below
    "/etc/passwd",  # absolute
    "//etc/passwd",  # of another host, or absolute
    "C:\\boot.ini",  # a drive
    "..\\secret_key",  # Windows' separator
    "\\\\host\\share",  # a share
    "file:///etc/passwd",  # an address
    "a\0.safetensors",  # cut off by C
    "~root/.ssh/id_rsa",  # a home
    "link",  # a link out of the roots
)


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture
def send(client: Client) -> Callable[..., HttpResponse]:
    def ask(address: str, data: Any, method: str = "post", by: Client | None = None) -> Any:
        call = getattr(by or client, method)
        return call(f"/api/v1/{address}", json.dumps(data), content_type="application/json")

    return ask


def text_of(answer: Any) -> str:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return body.decode("utf-8", "replace")


def refused(answer: Any, what: object) -> None:
    """A clear answer that shows nothing."""
    body = text_of(answer)
    assert 400 <= answer.status_code < 500, (what, answer.status_code, body[:300])
    assert SECRET not in body and "root:x:" not in body, what


def callbacks(resolver: Any = None, prefix: str = "/") -> list[tuple[str, Any]]:
    found = []
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern).lstrip("^")
        if isinstance(entry, URLResolver):
            found += callbacks(entry, route)
        elif isinstance(entry, URLPattern):
            found.append((route, entry.callback))
    return found


# --- paths -----------------------------------------------------------------------------------


def test_no_name_is_a_path(client, send, seeded, data_dir, footage):
    """In a query, in a body, and as a part of the address, as it is and encoded."""
    (data_dir / "secret_key").write_text(SECRET)
    (footage / "link").symlink_to(data_dir / "secret_key")
    external, evaluation = seeding.add_external(seeded), seeded.evaluations[0]
    for path in PATHS:
        part = quote(path, safe="%").replace("%25", "%")
        for address in (
            f"/api/v1/evaluations/{evaluation.pk}/timeline/?key={part}",
            f"/evaluations/viewer/timeline/?run={evaluation.pk}&video={part}",
            f"/api/v1/configs/{part}/",
            f"/api/v1/external/{external.pk}/files/{part}/",
            f"/s/{part}/",
        ):
            answer = client.get(address)
            if address.startswith("/s/") and answer.status_code == 410:
                continue  # a link that never was
            refused(answer, address)
        for field in ("root", "features", "annotations"):
            config = {"name": "a set", "root": str(footage), field: path}
            refused(send("datasets/", {"config": config}), (field, path))
    assert not Run.objects.filter(kind="register", name__contains="secret").exists()


def test_a_file_that_was_sent_is_never_a_page_of_ours(client, seeded):
    """Stored XSS by SVG or HTML: it is kept by the browser, and neither shown nor guessed at."""
    run = seeding.add_external(seeded)
    for name in ("a.svg", "b.html", "c.xml", 'd".svg', "e\u202egvs.html"):
        kept = uploads.artifact_store(
            run_id=run.pk, path=name, by=run.owner,
            data=io.BytesIO(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        )  # fmt: skip
        for address in (
            f"/external/{run.pk}/files/{kept.pk}/",
            f"/api/v1/external/{run.pk}/files/{kept.pk}/",
        ):
            answer = client.get(address)
            assert answer["Content-Type"] == "application/octet-stream", name
            assert answer["Content-Disposition"].startswith("attachment"), name
            assert answer["X-Content-Type-Options"] == "nosniff"


# --- text ------------------------------------------------------------------------------------


def test_no_stored_text_is_markup(client, send, seeded, project, user):
    """Names, notes, tags, labels, logs, videos: on every page that shows them."""
    first, external = seeded.runs["first"], seeding.add_external(seeded)
    dataset = seeded.version.dataset
    short = HOSTILE[:60]
    assert send(f"runs/{first.pk}/", {"name": HOSTILE, "notes": HOSTILE, "tags": ["<b>"]},
                "patch").status_code < 500  # fmt: skip
    Run.objects.filter(pk=first.pk).update(name=HOSTILE, notes=HOSTILE, tags=[short])
    send(f"external/{external.pk}/log/", {"lines": [HOSTILE]})
    send(f"external/{external.pk}/labels/", {"labels": {"site": HOSTILE}})
    send(f"external/{external.pk}/params/", {"params": {"lr": HOSTILE}})
    send(f"datasets/{dataset.pk}/", {"description": HOSTILE}, "patch")
    type(dataset).objects.filter(pk=dataset.pk).update(name=HOSTILE[:80])
    Project.objects.filter(pk=project.pk).update(name=HOSTILE[:60])
    User.objects.filter(pk=user.pk).update(username=short)
    report = send("reports/", {"title": HOSTILE, "evaluation": str(seeded.evaluations[0].pk)})
    pages = [
        "/runs/", f"/runs/{first.pk}/", f"/runs/{first.pk}/?tab=lineage", "/queue/", "/datasets/",
        f"/runs/{first.pk}/?tab=config", f"/runs/{first.pk}/?tab=events", "/evaluations/",
        f"/runs/{external.pk}/", f"/runs/{external.pk}/?tab=log",
        f"/datasets/{seeded.version.pk}/", f"/datasets/{seeded.version.pk}/videos/", "/reports/",
        f"/compare/?run={first.pk}&run={seeded.runs['second'].pk}", "/settings/projects/",
        f"/evaluations/viewer/?run={first.pk}", f"/runs/?q={quote(HOSTILE)}",
        f"/runs/delete/?run={first.pk}", f"/login/?next={quote(HOSTILE)}",
    ]  # fmt: skip
    if report.status_code == 201:
        pages.append(f"/reports/{report.json()['id']}/")
    shown = 0
    for page in pages:
        answer = client.get(page)
        body = text_of(answer)
        assert answer.status_code < 500, page
        assert not RAW.search(body), (page, RAW.search(body))
        shown += "&lt;script&gt;alert" in body or "\\u003Cscript" in body
        if answer.get("Content-Type", "").startswith("text/html"):
            policy = answer["Content-Security-Policy"]
            assert "unsafe" not in policy and "'self'" in policy, page
            assert "frame-ancestors 'none'" in policy and "object-src 'none'" in policy
            assert answer["X-Frame-Options"] == "DENY"
            assert answer["X-Content-Type-Options"] == "nosniff"
    assert shown > 10


# --- who asks --------------------------------------------------------------------------------


def test_no_address_takes_a_write_of_another_site(user, seeded):
    """CSRF: with the session's cookie alone, whatever the address and the type of the body."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    before = Run.objects.count()
    kinds = ("text/plain", "application/json", "application/x-www-form-urlencoded")
    for number, (route, view) in enumerate(callbacks()):
        path = re.sub(r"<uuid:\w+>", str(seeded.runs["first"].pk), route)
        path = re.sub(r"<int:\w+>", "1", re.sub(r"<\w+:\w+>", "stop", path))
        path = re.sub(r"\(.*|[\\^$]", "", path)
        answer = browser.post(path, "{}", content_type=kinds[number % 3])
        assert answer.status_code in (403, 404, 405, 415), (path, answer.status_code, view)
    assert Run.objects.count() == before


HOSTS = ("evil.example", "localhost.evil.example", "169.254.169.254", "localhost@evil.example",
         "localhost:80:80", "[::1", "a b")  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_is_not_ours_gets_nothing(client, host):
    """DNS rebinding, and links in mails that lead to whoever sent the header."""
    for address in ("/runs/", "/login/", "/api/v1/me/"):
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code == 400, address
    ours = client.get("/runs/", headers={"Host": "localhost", "X-Forwarded-Host": host})
    assert ours.status_code == 200
    assert "evil.example" not in text_of(ours)


ELSEWHERE = ("//evil.example/", "https://evil.example/", "/\\evil.example", "http:evil.example",
             "javascript:alert(1)", "\thttps://evil.example")  # fmt: skip


@pytest.mark.parametrize("to", ELSEWHERE)
def test_nobody_is_sent_to_another_site(make_user, project, client, make_run, to):
    """An open redirect, after signing in and after a write."""
    somebody = make_user(project=project)
    signed_in = Client().post(
        "/login/", {"username": somebody.username, "password": "a-long-one-42", "next": to}
    )
    moved = client.post(f"/runs/{make_run().pk}/hold/", {"next": to})
    for answer in (signed_in, moved):
        assert answer.status_code == 302
        assert "evil" not in answer["Location"] and "javascript" not in answer["Location"]


# --- what is asked for -----------------------------------------------------------------------


def test_ids_of_another_project_are_not_there(send, sign_in, stranger, seeded):
    """In bodies and queries, where no address gives the thing away."""
    their = sign_in(stranger)
    first, second = str(seeded.runs["first"].pk), str(seeded.runs["second"].pk)
    version, features = str(seeded.version.pk), str(seeded.feature_set.pk)
    before = Run.objects.count()
    for address, data in (
        ("runs/", {"kind": "train-urdmu", "config": {}, "feature_set": features}),
        ("runs/", {"kind": "extract", "config": {}, "version": version}),
        ("runs/", {"kind": "evaluate", "config": {}, "of_run": first}),
        ("runs/", {"kind": "train-urdmu", "config": {"pretrained_point": f"run:{first}"}}),
        ("runs/", {"kind": "extract", "config": {}, "project": seeded.project.slug}),
        ("pipelines/", {"kind": "train-urdmu", "version": version}),
        ("pipelines/", {"kind": "train-urdmu", "feature_set": features}),
        ("sweeps/", {"name": "s", "kind": "train-urdmu", "feature_set": features, "space":
                     {"lr": {"values": [1e-3]}}, "strategy": "grid"}),
        ("reports/", {"title": "t", "runs": [first, second]}),
        ("reports/", {"title": "t", "evaluation": str(seeded.evaluations[0].pk)}),
        ("external/", {"name": "x", "project": seeded.project.slug}),
    ):  # fmt: skip
        answer = send(address, data, by=their)
        refused(answer, (address, data))
        assert seeded.runs["first"].name not in answer.content.decode()
    for query in (f"compare/?runs={first},{second}", f"runs/complete/?q={first}",
                  f"storage/deletion/?run={first}", f"evaluations/?of_run={first}",
                  f"feature-sets/?version={version}"):  # fmt: skip
        body = text_of(their.get(f"/api/v1/{query}"))
        assert seeded.runs["first"].name not in body and features not in body, query
    assert Run.objects.count() == before


def test_no_member_is_assigned_that_is_not_offered(send, client, user, seeded):
    """Mass assignment: what a form or a body does not have, it does not set."""
    run = seeded.runs["first"]
    for name, value in {
        "owner": 1, "owner_id": 1, "state": "succeeded", "id": str(run.pk), "project_id": 1,
        "claim": None, "attempt": 0, "created_at": "1970-01-01", "summary": {}, "__class__": {},
        "is_superuser": True, "state__in": ["x"],
    }.items():  # fmt: skip
        refused(send(f"runs/{run.pk}/", {name: value}, "patch"), name)
        if name not in ("owner", "id"):
            refused(send("external/", {"name": "x", name: value}), name)
    for page in ("/settings/account/", "/settings/", "/settings/tokens/"):
        client.post(page, {"is_superuser": "1", "is_staff": "on", "role": "admin", "user": "1"})
    user.refresh_from_db()
    assert not user.is_superuser and not user.is_staff


LISTS = ("runs/", "datasets/", "evaluations/", "reports/", "sweeps/", "feature-sets/", "queue/",
         "workers/", "usage/", "notifications/deliveries/", "projects/", "tokens/")  # fmt: skip
SIZES = ("0", "-1", str(2**63), "1e308", "NaN", "")


def test_no_list_is_longer_than_its_bound(client, seeded):
    """Pages of any size, and places far behind the end."""
    run, evaluation = seeded.runs["first"].pk, seeded.evaluations[0].pk
    addresses = [f"{name}?{key}={{}}" for name in LISTS for key in ("limit", "offset", "cursor")]
    addresses += [
        f"runs/{run}/metrics/?max_points={{}}", f"runs/{run}/metrics/?from={{}}&raw=1",
        f"runs/{run}/log/?offset={{}}", f"runs/{run}/log/?limit={{}}",
        f"runs/{run}/events/?limit={{}}", f"evaluations/{evaluation}/roc/?max_points={{}}",
        f"evaluations/{evaluation}/errors/?video=test/fire_047&threshold={{}}",
        f"compare/?runs={run}&max_points={{}}", f"runs/{run}/bags/?video=a&step={{}}",
    ]  # fmt: skip
    for address in addresses:
        for size in SIZES:
            answer = client.get("/api/v1/" + address.format(quote(size)))
            assert answer.status_code < 500, (address, size)
            data = json.loads(text_of(answer), parse_constant=pytest.fail)
            rows = data.get("results", []) if isinstance(data, dict) else data
            assert len(rows) <= 200, (address, size)


NUMBERS = (
    float("nan"),
    float("inf"),
    -float("inf"),
    1e308,
    -1e308,
    2**63,
    2**64,
    -(2**63),
    10**400,
)


def test_no_number_is_too_odd(send, client, seeded):
    """NaN, infinities, 1e308, 2^63 as values, steps, times and settings: kept or refused."""
    run = seeding.add_external(seeded)
    for number in NUMBERS:
        for row in (
            {"step": 5, "values": {"odd": number}}, {"step": number, "values": {"odd": 1.0}},
            {"step": 5, "values": {"odd": 1.0}, "time": number},
        ):  # fmt: skip
            answer = send(f"external/{run.pk}/metrics/", {"rows": [row]})
            assert answer.status_code < 500, row
        for data in ({"done": number}, {"total": number}):
            assert send(f"external/{run.pk}/metrics/", data).status_code < 500, data
        assert send(f"external/{run.pk}/params/", {"params": {"a": number}}).status_code < 500
        config = {"lr": number, "steps": number, "seed": number}
        refused(send("runs/", {"kind": "train-urdmu", "config": config}), number)
        space = {"lr": {"low": 1e-5, "high": number}}
        sweep = {"name": "s", "kind": "train-urdmu", "space": space, "strategy": "random"}
        refused(send("sweeps/", sweep), number)
        refused(send(f"runs/{run.pk}/", {"priority": number, "memory_mb": number}, "patch"), number)
    for address in (f"/api/v1/runs/{run.pk}/", f"/api/v1/runs/{run.pk}/metrics/?raw=1",
                    f"/runs/{run.pk}/figures/other/", "/api/v1/runs/?sort=-odd"):  # fmt: skip
        answer = client.get(address)
        assert answer.status_code < 500, address
        json.loads(text_of(answer), parse_constant=pytest.fail)
    for page in (f"/runs/{run.pk}/", "/runs/?sort=-odd&cols=odd", "/runs/?q=odd%3E1e400"):
        assert client.get(page).status_code < 500, page


def test_a_packed_body_is_not_unpacked(client):
    """A gzip bomb: what a body grows to is never more than what was sent."""
    answer = client.post(
        "/api/v1/runs/", gzip.compress(b'{"notes": "' + b"0" * 20_000_000 + b'"}'),
        content_type="application/json", headers={"Content-Encoding": "gzip"},
    )  # fmt: skip

    refused(answer, "gzip")


@pytest.mark.parametrize("path", ["/api/v1/runs/", "/runs/new/train-urdmu/", "/no/such/page/"])
def test_a_body_of_unknown_length_is_refused_not_taken_as_empty(client, path):
    """As gunicorn hands it over: it has undone the chunks, and Django would read none of them."""
    for sent, status in ((b'{"kind": "train-urdmu"}', 411), (b"", None)):
        answer = client.generic(
            "POST", path, content_type="application/json", HTTP_TRANSFER_ENCODING="chunked",
            CONTENT_LENGTH="", **{"wsgi.input": io.BytesIO(sent), "wsgi.input_terminated": True},
        )  # fmt: skip
        assert (answer.status_code == 411) is (status == 411)
        assert answer.status_code < 500


RUNS_CODE = re.compile(
    r"^\s*(import|from) (pickle|dill|joblib|shelve|marshal|cloudpickle)\b"  # objects with code
    r"|(?<![\w.])(eval|exec)\("  # Python
    r"|\b(os\.system|os\.popen|yaml\.load)\(|shell=True"  # a shell, YAML's objects
    r"|\.load\((?![^)]*(weights_only=True|allow_pickle=False))[^)]*(pth|npy|pkl)"
    r"|weights_only=False|allow_pickle=True|trust_remote_code=True",
    re.M,
)


def test_nothing_in_the_program_runs_what_it_reads():
    """Pickle anywhere, eval, shells."""
    for file in (p for top in ("vad", "webapp", "workers") for p in (ROOT / top).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        found = [m[0] for m in RUNS_CODE.finditer(text)]
        assert not found, (file, found)
        for call in re.findall(r"\btorch\.load\(.*", text):
            assert "weights_only=True" in call, (file, call)
