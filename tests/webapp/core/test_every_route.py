"""No address is open by accident: every route, asked by everybody, with every method.

`TABLE` has one line a route: who may read it and who may write. A route that is not in it fails
the test, which says what to add. What a line expects:

- who may gets anything but a refusal (also 400, 409 or 422: the request itself was understood);
- nobody signed in: to the sign-in page, and 401 below /api/;
- whose role does not allow it: 403 or 404, and not a single row of the database has changed;
- somebody of another project: 404 where the address names a thing of the project, else their own;
- a token is no session: on pages it counts for nothing; one to read writes nothing; one to write
  has the rights of a member, also in the hand of an admin.

Where the empty body of a request is refused before the role is looked at, `.sends(...)` gives one
that gets so far; `.at(name="roc")` fills in what the address needs beyond the values that
route_world.py makes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import route_world
import seeding
from django.conf import settings as django_settings
from django.db import transaction
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from route_asking import ask
from route_rules import WHO, Level, Rule, expected, refused_quietly
from route_world import World

from webapp.accounts import tokens
from webapp.accounts.models import User

pytestmark = pytest.mark.django_db

METHODS = ("get", "post", "put", "patch", "delete")

OPEN = Rule(read=Level.ANYBODY)
OPEN_FORM = Rule(read=Level.ANYBODY, write=Level.ANYBODY)
OWN = Rule(read=Level.PERSON)  # oneself, or nothing that belongs to anybody
OWN_FORM = Rule(read=Level.PERSON, write=Level.PERSON)
OWN_ACTION = Rule(write=Level.PERSON)
PAGE = Rule(read=Level.VIEWER)
ACTION = Rule(write=Level.MEMBER)  # POST alone
EDIT = Rule(read=Level.MEMBER, write=Level.MEMBER)  # a page that is there to write
PAGE_EDIT = Rule(read=Level.VIEWER, write=Level.MEMBER)
LEAVE = Rule(write=Level.VIEWER)
ADMIN = Rule(read=Level.ADMIN)
ADMIN_ACTION = Rule(write=Level.ADMIN)
SERVER = Rule(read=Level.SERVER)
SERVER_ACTION = Rule(write=Level.SERVER)
API_OWN = Rule(read=Level.PERSON)
API_READ = Rule(read=Level.VIEWER)
API_WRITE = Rule(read=Level.VIEWER, write=Level.MEMBER)
API_ACTION = Rule(write=Level.MEMBER)
API_ADMIN = Rule(read=Level.ADMIN, write=Level.ADMIN)
API_ADMIN_READ = Rule(read=Level.ADMIN)
API_ADMIN_ACTION = Rule(write=Level.ADMIN)

TABLE: dict[str, Rule] = {
    "home": OWN_FORM,
    "healthz": OPEN,
    "readyz": OPEN,
    "metrics": Rule(read=Level.KEY),
    "login": OPEN_FORM,
    "logout": OWN_ACTION,
    "forgotten": OPEN_FORM,
    "password": OPEN_FORM.at(secret="{password_link}"),
    "api-docs": OWN,
    "api-operation": OWN.at(operation_id="get_run_list"),
    "join": OPEN_FORM,
    # settings
    "settings:account": OWN_FORM,
    "settings:sessions-end": OWN_ACTION,
    "settings:recovery-mail": OWN_ACTION,
    "settings:people": SERVER,
    "settings:person": SERVER,
    "settings:person-act": SERVER_ACTION.at(action="deactivate"),
    "settings:tokens": OWN_FORM,
    "settings:token-revoke": LEAVE.at(token_id="{viewer_token}"),
    "settings:projects": OWN_FORM,
    "settings:project-switch": LEAVE.sends(project="{slug}").named(),
    "settings:project": PAGE,
    "settings:project-rename": ADMIN_ACTION,
    "settings:project-leave": LEAVE,
    "settings:member": ADMIN_ACTION.sends(role="viewer"),
    "settings:invitation-new": ADMIN_ACTION,
    "settings:invitation-revoke": ADMIN_ACTION,
    "settings:audit": ADMIN,
    # notifications
    "notify:mine": OWN_FORM,
    "notify:project": Rule(read=Level.ADMIN, write=Level.ADMIN),
    "notify:channel": ADMIN_ACTION.at(action="test"),
    "notify:rule": ADMIN_ACTION.at(action="pause"),
    "notify:again": ADMIN_ACTION,
    "storage:storage": OWN,
    "storage:measure": ACTION,
    "storage:rule": ACTION.sends(keep_best="2"),
    "storage:orphans": replace(OWN, write=Level.PERSON),
    "projects:delete": replace(ADMIN, write=Level.ADMIN),
    "interop:export": PAGE,
    "interop:export-file": PAGE,
    # runs
    "runs:list": PAGE,
    "runs:live": PAGE,
    "runs:bulk": replace(ACTION, quiet=True).sends(run="{first}", action="tag", tag="seen"),
    "runs:delete": EDIT.sends(run="{first}").named(),
    "runs:new": EDIT,
    "runs:columns": PAGE,
    "runs:pin": replace(OWN_ACTION, quiet=True).sends(run="{first}"),
    "runs:views": PAGE_EDIT,
    "runs:view": ACTION,
    "runs:detail": PAGE,
    "runs:status": PAGE,
    "runs:results": PAGE,
    "runs:figure": PAGE.at(name="loss"),
    "runs:bags": PAGE.at(video="{watched}"),
    "runs:bag-figure": PAGE.at(name="memory", video="{watched}"),
    "runs:checkpoint-file": PAGE.at(run_id="{first}", step="300"),
    "runs:checkpoint-pin": ACTION.at(run_id="{first}", step="300"),
    "runs:log": PAGE.at(run_id="{running}"),
    "runs:log-tail": PAGE,
    "runs:notes": ACTION,
    "runs:priority": ACTION,
    "runs:act": ACTION,
    # data sets
    "datasets:list": PAGE,
    "datasets:new": EDIT,
    "datasets:detail": PAGE,
    "datasets:classes": PAGE,
    "datasets:alignment": PAGE,
    "datasets:differences": PAGE.at(to="{version_id}"),
    "datasets:media": PAGE,
    "datasets:thumbnail": PAGE.at(first="{run_id}"),
    "datasets:videos": PAGE,
    # evaluations and comparison
    "evaluations:list": PAGE,
    "evaluations:detail": PAGE,
    "evaluations:figure": PAGE.at(name="roc"),
    "evaluations:viewer": PAGE.named(),
    "evaluations:viewer-timeline": PAGE.named(),
    "compare:index": PAGE,
    "compare:figure": PAGE.at(name="roc"),
    "compare:table": PAGE.at(name="metrics").named(),
    # reports
    "shared": OPEN_FORM.at(secret="{share}"),
    "reports:list": PAGE,
    "reports:new": EDIT.sends(title="A", action="save"),
    "reports:make": ACTION.sends(evaluation="{run_id}").named(),
    "reports:add": EDIT.at(report_id="{report_id}").sends(
        kind="roc", evaluations="{run_id}", title="A"
    ),
    "reports:detail": PAGE,
    "reports:edit": EDIT.sends(title="A", action="save"),
    "reports:history": PAGE,
    "reports:restore": ACTION.sends(number="1"),
    "reports:freeze": ACTION,
    "reports:recheck": PAGE,
    "reports:delete": ACTION,
    "reports:export": PAGE.at(form="tex"),
    "reports:comment-add": ACTION.sends(block="{block}", text="Look"),
    "reports:comment-delete": ADMIN_ACTION,
    "reports:share": EDIT.sends(days="3"),
    "reports:share-revoke": ACTION,
    "external:file": PAGE.at(run_id="{external}"),
    "fleet:queue": PAGE,
    "fleet:move": ACTION.at(run_id="{queued}").sends(to="top"),
    "fleet:more-time": ACTION.at(run_id="{failed}").sends(time_limit_s="60"),
    "fleet:pause": ACTION.sends(scope="project"),
    "fleet:resume": ACTION.sends(scope="project"),
    "fleet:worker": Rule(write=Level.SERVER).at(action="drain"),
    "sweeps:list": PAGE,
    "sweeps:new": EDIT,
    "sweeps:pipeline-new": EDIT,
    "sweeps:detail": PAGE,
    "sweeps:figure": PAGE.at(name="history"),
    "sweeps:act": ACTION.at(action="hold"),
    # the API
    "api:schema": API_OWN,
    "api:me": API_OWN,
    "api:tokens": Rule(read=Level.PERSON, write=Level.PERSON, in_browser="all"),
    "api:token": Rule(write=Level.VIEWER, in_browser="all").at(token_id="{viewer_token}"),
    "api:people": SERVER,
    "api:person": replace(SERVER, write=Level.SERVER).sends(active="false"),
    "api:person-password-link": SERVER_ACTION,
    "api:queue-pause": API_WRITE.sends(project="{slug}").named(),
    "api:storage": replace(API_OWN, write=Level.MEMBER),
    "api:storage-rule": API_WRITE,
    "api:storage-orphans": replace(API_OWN, write=Level.PERSON),
    "api:storage-deletion": replace(API_READ, read=Level.MEMBER).named(),
    "api:usage": Rule(read=Level.VIEWER, write=Level.SERVER).sends(user="{username}", share="2"),
    "api:worker-action": Rule(write=Level.SERVER).at(name="{worker}", action="drain"),
    "api:projects": Rule(read=Level.PERSON, write=Level.PERSON, in_browser="writes"),
    "api:project": Rule(read=Level.VIEWER, write=Level.ADMIN),
    "api:member": Rule(read=Level.VIEWER, write=Level.ADMIN).sends(role="viewer"),
    "api:invitations": API_ADMIN,
    "api:invitation": API_ADMIN_ACTION,
    "api:audit": API_ADMIN_READ,
    "api:project-export": API_READ,
    "api:project-deletion": API_ADMIN.sends(slug="{slug}"),
    "api:runs": API_WRITE.sends(kind="register", config='{{"name": "a", "root": "/a"}}'),
    "api:runs-complete": API_READ,
    "api:runs-views": API_WRITE,
    "api:runs-view": API_WRITE.sends(name="Another"),
    "api:run-pin": LEAVE,
    "api:run": API_WRITE.sends(name="Another"),
    "api:run-lineage": API_READ,
    "api:run-log-search": API_READ.at(find="step"),
    "api:run-metrics": API_READ,
    "api:run-log": API_READ,
    "api:run-events": API_READ,
    "api:run-bags": API_READ.at(video="{watched}"),
    "api:run-checkpoints": API_READ,
    "api:checkpoint-pin": API_ACTION.at(run_id="{first}", step="300"),
    "api:run-action": API_ACTION,
    "api:pipelines": API_ACTION,
    "api:configs": API_OWN,
    "api:config": API_OWN,
    "api:datasets": API_WRITE.sends(config='{{"name": "a", "root": "/a"}}'),
    "api:dataset": API_WRITE.sends(description="Seen"),
    "api:version": API_READ,
    "api:differences": API_READ.at(to="{version_id}"),
    "api:thumbnail": API_READ.at(first="{run_id}"),
    "api:videos": API_READ,
    "api:feature-sets": API_READ,
    "api:feature-set": API_READ,
    "api:evaluations": API_READ,
    "api:evaluation": API_READ,
    "api:evaluation-timeline": API_READ,
    "api:evaluation-videos": API_READ,
    "api:evaluation-maps": API_READ,
    "api:evaluation-truth": API_READ,
    "api:evaluation-errors": API_READ,
    "api:evaluation-curve": API_READ.at(name="roc"),
    "api:compare": API_READ,
    "api:compare-pairs": API_READ,
    "api:compare-explain": API_READ,
    "api:reports": API_WRITE.sends(title="A"),
    "api:report": API_WRITE.sends(title="Another"),
    "api:report-revisions": API_READ,
    "api:report-revision": API_WRITE.at(number="1"),
    "api:report-freeze": API_ACTION,
    "api:report-recheck": API_READ,
    "api:report-export": API_READ.at(form="tex"),
    "api:report-comments": API_WRITE.sends(block="{block}", text="Look"),
    "api:report-comment": replace(ADMIN_ACTION, in_browser="writes"),
    "api:report-links": Rule(read=Level.MEMBER, write=Level.MEMBER),
    "api:report-link": API_ACTION,
    "api:external-list": API_ACTION,
    "api:uploads": API_ACTION.at(run_id="{external}"),
    "api:upload": API_WRITE,
    "api:files": API_READ.at(run_id="{external}"),
    "api:file": API_READ.at(run_id="{external}"),
    "api:run-checkpoint-file": API_READ.at(step="300"),
    "api:external": API_READ.at(run_id="{external}"),
    "api:external-history": API_READ.at(run_id="{external}"),
    **{
        f"api:external-{name}": API_ACTION.at(run_id="{external}")
        for name in ("metrics", "log", "params", "tags", "labels", "end", "resume")
    },
    "api:queue": API_READ,
    "api:sweeps": API_WRITE,
    "api:sweep": API_WRITE,
    "api:sweep-trials": API_READ,
    "api:sweep-action": API_ACTION.at(action="hold"),
    "api:workers": API_READ,
    "api:channels": Rule(read=Level.PERSON, write=Level.PERSON),
    "api:channel": API_ADMIN_ACTION,
    "api:channel-action": API_ADMIN_ACTION.at(action="test"),
    "api:rules": Rule(read=Level.PERSON, write=Level.PERSON),
    "api:rule": API_ADMIN_ACTION,
    "api:deliveries": API_OWN,
    # MLflow's
    "version": OPEN,
    "mlflow:experiment-create": ACTION.sends(name="Another"),
    "mlflow:experiment": API_READ.named(),
    "mlflow:experiment-by-name": API_READ,
    "mlflow:experiments": Rule(read=Level.VIEWER, write=Level.VIEWER, search=True),
    **{
        f"mlflow:experiment-{name}": ACTION.sends(experiment_id="{experiment}", **body).named()
        for name, body in {
            "update": {"new_name": "Renamed"},
            "delete": {},
            "restore": {},
            "tag": {"key": "a", "value": "b"},
            "untag": {"key": "a"},
        }.items()
    },
    "mlflow:run-create": ACTION.sends(experiment_id="{experiment}").named(),
    "mlflow:run": API_READ.named(),
    "mlflow:runs": replace(LEAVE, search=True).sends(experiment_ids='["{experiment}"]').named(),
    "mlflow:metric-history": API_READ.named(),
    "mlflow:logged-models": replace(LEAVE, search=True)
    .sends(experiment_ids='["{experiment}"]')
    .named(),
    "mlflow:logged-model-create": ACTION.sends(source_run_id="{external}", name="a").named(),
    "mlflow:logged-model": API_WRITE.at(model_id="{model}")
    .sends(status="LOGGED_MODEL_READY")
    .named(),
    "mlflow:logged-model-tags": ACTION.at(model_id="{model}").named(),
    "mlflow:logged-model-params": ACTION.at(model_id="{model}").named(),
    "mlflow:log-outputs": ACTION.sends(run_id="{external}").named(),
    "mlflow:artifacts": API_READ.named(),
    "mlflow:artifacts-of": API_READ.at(path="{external}").named(),
    "mlflow:artifact": API_WRITE.at(artifact="{external}/{kept_path}").named(),
    **{
        f"mlflow:{name}": ACTION.sends(run_id="{external}", **body).named()
        for name, body in {
            "run-update": {"run_name": "Renamed"},
            "run-delete": {},
            "run-restore": {},
            "log-metric": {"key": "a", "value": "NaN"},
            "log-batch": {},
            "log-inputs": {},
            "log-parameter": {"key": "a", "value": "b"},
            "set-tag": {"key": "a", "value": "b"},
            "delete-tag": {"key": "mlflow.note.content"},
        }.items()
    },
    **{
        f"mlflow:unknown{what}": Rule(read=Level.PERSON, write=Level.PERSON, nothing=True)
        for what in ("", "-3", "-artifacts")
    },
}


def routes(
    resolver: URLResolver | None = None, prefix: str = "", space: str = ""
) -> Iterator[tuple[str, str]]:
    """Name and route of every address of the project."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from routes(entry, route, inner)
        elif isinstance(entry, URLPattern):
            yield f"{space}{entry.name or route}", route


ROUTES = dict(routes())


# --- the world ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A filled project, made once; one transaction around all tests here takes it back."""
    data_dir = tmp_path_factory.mktemp("walk")
    with (
        django_db_blocker.unblock(),
        override_settings(DATA_DIR=data_dir, DATA_ROOTS=[]),
        transaction.atomic(),
    ):
        yield route_world.make(data_dir)
        transaction.set_rollback(True)


@pytest.fixture
def _django_db_helper(world: World) -> None:
    """Instead of a transaction a test, which would close the one that all of them share."""


@pytest.fixture(autouse=True)
def _same_place(settings: Any, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA_DIR = world.data_dir
    monkeypatch.setattr(logging.getLogger("django.request"), "disabled", True)


# --- the tests ------------------------------------------------------------------------------


def test_every_route_is_in_the_table() -> None:
    missing = sorted(set(ROUTES) - set(TABLE))
    lines = "\n".join(
        f'    "{name}": {"API_READ" if name.startswith("api:") else "PAGE"},  # /{ROUTES[name]}'
        for name in missing
    )

    assert not missing, (
        f"who may open these? Add a line each to TABLE in {Path(__file__).name}, with the group "
        f"that is right (OPEN, OWN, PAGE, ACTION, EDIT, ADMIN, API_READ, API_WRITE, …):\n{lines}"
    )
    assert sorted(set(TABLE) - set(ROUTES)) == [], "lines of routes that are gone"


@pytest.mark.parametrize("name", sorted(set(ROUTES) & set(TABLE)))
def test_a_route_lets_in_whom_the_table_says_and_nobody_else(name: str, world: World) -> None:
    rule, route = TABLE[name], ROUTES[name]
    taken = {m for m in METHODS if ask(world, name, route, rule, m, "admin").outcome != "405"}
    wrong: list[str] = []
    for method in METHODS:
        level = rule.read if method == "get" else rule.write
        if method in taken and level is None:
            wrong.append(f"takes {method}, and the table does not say who may")
        if method not in taken or level is None:
            answer = ask(world, name, route, rule, method, "nobody")
            if answer.outcome == "allowed":
                wrong.append(f"{method} by nobody is {answer.status}, and 405 by an admin")
            continue
        for who in WHO:
            answer = ask(world, name, route, rule, method, who)
            may = expected(name, route, rule, method, who)
            if answer.outcome not in may:
                wrong.append(
                    f"{method} by {who} is {answer.outcome} ({answer.status}), expected"
                    f" {' or '.join(sorted(may))}: {answer.text[:200].partition('<!doctype')[0]}"
                )
            elif answer.changed and ("allowed" not in may or refused_quietly(rule, who)):
                wrong.append(f"{method} by {who} is refused, yet changes {answer.changed}")
            if who == "stranger" and level > Level.ANYBODY:
                wrong += [
                    f"{method} shows a stranger {s!r}" for s in world.secrets if s in answer.text
                ]
    if rule.write is not None and not taken & set(METHODS[1:]):
        wrong.append("the table says who may write, but no method does")
    if rule.read is not None and "get" not in taken:
        wrong.append("the table says who may read, but GET is not taken")

    assert not wrong, "\n".join([f"{name} (/{route})", *wrong])


def test_a_token_of_a_superuser_is_no_more_than_that_of_a_member(world: World) -> None:
    """The superuser is in no project, so with a token they see none."""
    with transaction.atomic():
        chief = User.objects.create_superuser("chief", password=seeding.PASSWORD)
        _, secret = tokens.token_create(by=chief, name="all", scope="write")
        asked = {"headers": {"Authorization": f"Bearer {secret}"}}
        run = Client().get(f"/api/v1/runs/{world.values['run_id']}/", **asked)
        listed = Client().get("/api/v1/runs/", **asked)
        audit = Client().get(f"/api/v1/projects/{world.values['slug']}/audit/", **asked)
        chief.refresh_from_db()
        transaction.set_rollback(True)

    assert (run.status_code, audit.status_code) == (404, 404)
    assert listed.json()["results"] == []
    assert chief.is_superuser


def test_every_view_needs_a_sign_in_unless_the_table_calls_it_open(world: World) -> None:
    assert "webapp.core.middleware.SignInMiddleware" in django_settings.MIDDLEWARE
    opened = {n for n, rule in TABLE.items() if Level.ANYBODY in (rule.read, rule.write)}

    assert opened == {
        "healthz", "readyz", "login", "forgotten", "password", "join", "shared", "version",
    }  # fmt: skip
