"""Rows of a database that is not the test's: `console.py queue STEPS [RUNS]`, `show RUN`."""

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
from webapp.runs import lifecycle, metrics  # noqa: E402
from webapp.runs.models import Run  # noqa: E402


def queue(steps: str, count: str = "1") -> object:
    user = User.objects.create_user("person")
    project = Project.objects.create(name="Project", slug="project")
    dataset = Dataset.objects.create(project=project, name="set", created_by=user)
    version = DatasetVersion.objects.create(
        dataset=dataset, number=1, format="generic", fingerprint="1", created_by=user
    )
    features = FeatureSet.objects.create(version=version, name="features", ready=True)
    config = config_class("train-urdmu").from_dict(
        {"num_epochs": int(steps), "checkpoint_every": 20}
    )
    made = []
    for _ in range(int(count)):
        run = Run.objects.create(
            project=project, owner=user, name="run", kind="train-urdmu", config=config.to_dict(),
            version=version, feature_set=features,
        )  # fmt: skip
        lifecycle.enter(run, by=user)
        made.append(str(run.pk))
    return made


def show(pk: str) -> object:
    run = Run.objects.get(pk=pk)
    return {
        "state": run.state,
        "attempt": run.attempt,
        "error": run.error,
        "steps": metrics.read_raw(run, "loss/total").steps.tolist(),
    }


if __name__ == "__main__":
    print(json.dumps({"queue": queue, "show": show}[sys.argv[1]](*sys.argv[2:])))
