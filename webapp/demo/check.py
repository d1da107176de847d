"""Does the demo's result stand? Asked over HTTP, as a browser would."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.urls import reverse

from webapp.accounts.models import User
from webapp.runs.models import Run

LEAST_AUC = 0.90  # of the full model on the synthetic test split


def session_cookie(user: User) -> str:
    """A signed-in session for the check; the generated password is not kept to sign in with."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.set_expiry(600)
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


class Site:
    """The running server, seen from outside."""

    def __init__(self, address: str, cookie: str) -> None:
        self._address, self._cookie = address, cookie

    def page(self, path: str) -> str:
        """The text of a page.

        Raises:
            AssertionError: any answer but 200, with the address.
        """
        request = urllib.request.Request(self._address + path, headers={"Cookie": self._cookie})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.url == self._address + path, f"{path} redirects to {answer.url}"
                return answer.read().decode()
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{path} answers {exc.code}") from exc

    def data(self, path: str) -> Any:
        return json.loads(self.page(path))


def problems(address: str, user: User, runs: Sequence[Run]) -> list[str]:
    """What is wrong, in sentences; empty when everything stands."""
    site = Site(address, session_cookie(user))
    found: list[str] = []

    def check(what: str, test: Any) -> None:
        try:
            test()
        except (AssertionError, KeyError, TypeError, ValueError, OSError) as exc:
            found.append(f"{what}: {exc!r}" if not isinstance(exc, AssertionError) else str(exc))

    for run in runs:
        check(run.name, lambda run=run: _run_stands(site, run))
    trainings = [r for r in runs if r.kind.startswith("train")]
    query = "&".join(f"run={r.pk}" for r in trainings)
    pages = [
        reverse("runs:list"), reverse("fleet:queue"), reverse("datasets:list"),
        reverse("evaluations:list"), f"{reverse('compare:index')}?{query}",
    ]  # fmt: skip
    for path in pages:
        check(path, lambda path=path: site.page(path))
    return found


def _run_stands(site: Site, run: Run) -> None:
    shown = site.data(f"/api/v1/runs/{run.pk}/")
    assert shown["state"] == "succeeded", f"{run.name} is {shown['state']}: {shown.get('error')}"
    assert run.name in site.page(reverse("runs:detail", args=[run.pk])), f"{run.name}: empty page"
    if run.kind.startswith("train"):
        steps = run.config["num_epochs"]
        data = site.data(f"/api/v1/runs/{run.pk}/metrics/?keys=loss/total&raw=1")
        points = data["series"]["loss/total"]["steps"]
        assert points == list(range(1, steps + 1)), f"{run.name}: {len(points)} of {steps} steps"
    if run.kind == "evaluate":
        evaluation = site.data(f"/api/v1/evaluations/{run.pk}/")
        auc = evaluation["metrics"]["auc"]
        assert auc is not None and 0.5 < auc <= 1, f"{run.name}: frame AUC {auc}"
        curve = site.data(f"/api/v1/evaluations/{run.pk}/roc/")
        assert len(curve["fpr"]) == len(curve["tpr"]) > 2, f"{run.name}: no ROC curve"
        if run.of_run and run.of_run.kind == "train-two-stage":
            _maps_stand(site, run, evaluation)
        if run.of_run and run.of_run.name.startswith("UR-DMU"):
            assert auc >= LEAST_AUC, f"{run.name}: frame AUC {auc:.3f} is below {LEAST_AUC}"


def _maps_stand(site: Site, run: Run, evaluation: Any) -> None:
    """The patches were measured, and a map and its film are there for the browser."""
    auc = evaluation["patch"]["metrics"]["patch_auc"]
    assert auc is not None and 0.5 < auc <= 1, f"{run.name}: patch AUC {auc}"
    page = site.page(reverse("evaluations:detail", args=[run.pk]))
    assert "data-viewer" in page, f"{run.name}: no anomaly map on its page"
