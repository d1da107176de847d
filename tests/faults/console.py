"""Rows of a database that is not the test's: `console.py queue STEPS [RUNS]`, `show`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import django

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
django.setup()

from vad.configs import config_class  # noqa: E402
from webapp.accounts.models import Project, User  # noqa: E402
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet  # noqa: E402
from webapp.runs import metrics  # noqa: E402
from webapp.runs.lifecycle import commands  # noqa: E402
from webapp.runs.models import Run  # noqa: E402

CLAIM = ("claimed", "lost", "given-back", "set-back", "succeeded")  # begin and end one


def queue(steps: str, runs: str = "1") -> object:
    """Runs that differ in their seed, 0 to RUNS; death may come to each as often as it likes."""
    user = User.objects.create_user("person")
    project = Project.objects.create(name="Project", slug="project")
    dataset = Dataset.objects.create(project=project, name="set", created_by=user)
    version = DatasetVersion.objects.create(
        dataset=dataset, number=1, format="generic", fingerprint="1", created_by=user
    )
    features = FeatureSet.objects.create(version=version, name="features", ready=True)
    made = []
    for seed in range(int(runs)):
        config = config_class("train-urdmu").from_dict(
            {"num_epochs": int(steps), "checkpoint_every": 10, "seed": seed}
        )
        run = Run.objects.create(
            project=project, owner=user, name=f"run {seed}", kind="train-urdmu",
            config=config.to_dict(), version=version, feature_set=features, max_attempts=100,
        )  # fmt: skip
        commands.enter(run, by=user)
        made.append(str(run.pk))
    return made


def show() -> object:
    return [
        {
            "overlapped": (run.folder / "overlapped").exists(),
            "state": run.state,
            "attempt": run.attempt,
            "error": run.error,
            "seed": run.config["seed"],
            "steps": metrics.read_raw(run, "loss/total").steps.tolist(),
            "claims": [
                [row.started_at.timestamp(), row.ended_at.timestamp()]
                for row in run.attempts.order_by("started_at")
            ],
            "events": list(
                run.events.filter(kind__in=CLAIM).order_by("id").values_list("kind", flat=True)
            ),
            "weights": run.checkpoints.order_by("step").last().sha256,
        }
        for run in Run.objects.order_by("created_at")
    ]


if __name__ == "__main__":
    print(json.dumps({"queue": queue, "show": show}[sys.argv[1]](*sys.argv[2:])))
