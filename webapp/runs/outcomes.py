"""What a finished run leaves in the database, by kind. Called inside the finishing transaction.

Files move by one rename each, to a place that is named by the run. A crash between the rename and
the commit leaves a folder that no row knows; the run is then taken back, does its work again, and
the rename takes that folder's place. So there is nothing, or the finished thing.
"""

from __future__ import annotations

import math
import shutil
import uuid
from pathlib import Path
from typing import Any

from django.db.models import Max

from vad.data.manifest import Manifest, load_manifest
from vad.data.tensorfile import file_sha256, sync_folder
from vad.errors import VadError
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet, Video
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Checkpoint, Run


def record(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    """Make the rows that the result of `run` stands for.

    Returns:
        What the run's own row keeps as its result: short, with the ids of what was made.

    Raises:
        VadError: what the run left behind is not what it says, or is there already.
    """
    if run.kind == "register":
        return _register(run, result)
    if run.kind == "extract":
        return _extract(run, result)
    if run.kind == "evaluate":
        return _evaluate(run, result)
    if run.kind == "proxies":  # its files stay in its folder
        return result
    if not run.checkpoints.exists():
        raise VadError(
            "checkpoint-invalid",
            f"{run.name} ended without a checkpoint.",
            "Look at the end of its log, and retry it.",
        )
    return result


# --- register -------------------------------------------------------------------------------


def _register(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    """A data set version with its videos, and the features that were packed with it."""
    name = str(run.config["name"])
    dataset, _ = Dataset.objects.get_or_create(
        project=run.project, name=name, defaults={"created_by": run.owner}
    )
    Dataset.objects.select_for_update().get(pk=dataset.pk)  # numbers its versions one by one
    version = dataset.versions.filter(fingerprint=result["fingerprint"]).first()
    features = result.get("features")
    if version is None:
        version = _version(run, dataset, result)
    elif not features:
        raise VadError(
            "already-registered",
            f"{version} has exactly this content already; nothing was changed.",
            "Use that version. To add features to it, register it again and name their folder.",
        )
    feature_set = None
    if features:
        feature_set = FeatureSet(pk=_named_by(run, "features"), version=version, produced_by=run)
        feature_set.name = f"{Path(str(run.config['features'])).name}"[:120]
        _fill_features(run, feature_set, features)
    Run.objects.filter(pk=run.pk).update(version=version, feature_set=feature_set)
    return {
        "fingerprint": version.fingerprint,
        "counts": version.counts,
        "version": str(version.pk),
        "feature_set": str(feature_set.pk) if feature_set else None,
    }


def _version(run: Run, dataset: Dataset, result: dict[str, Any]) -> DatasetVersion:
    newest = dataset.versions.aggregate(n=Max("number"))["n"] or 0
    version = DatasetVersion(
        pk=_named_by(run, "version"),
        dataset=dataset,
        number=newest + 1,
        format=str(run.config["format"]),
        fingerprint=result["fingerprint"],
        rules=result.get("rules") or {},
        notes=result.get("notes") or [],
        counts=result.get("counts") or {},
        created_by=run.owner,
    )
    made = run.folder / "version"
    manifest = load_manifest(made if made.is_dir() else version.folder)
    version.save(force_insert=True)
    Video.objects.bulk_create(video_rows(version, manifest), batch_size=500)
    _take(made, version.folder)
    return version


def video_rows(version: DatasetVersion, manifest: Manifest) -> list[Video]:
    """Unsaved rows of a manifest's videos."""
    return [
        Video(
            version=version,
            key=v.key,
            split=v.split,
            label=v.label,
            classes=list(v.classes),
            path=v.path,
            num_frames=v.num_frames,
            fps=v.fps,
            width=v.width,
            height=v.height,
        )
        for v in manifest.videos
    ]


# --- extract --------------------------------------------------------------------------------


def _extract(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    feature_set = FeatureSet.objects.filter(produced_by=run).first()
    if feature_set is None:
        raise VadError(
            "features-missing",
            f"The feature set that {run.name} was to make has been deleted.",
            "Queue a new extract run.",
        )
    _fill_features(run, feature_set, result)
    return {**result, "feature_set": str(feature_set.pk)}


def _fill_features(run: Run, feature_set: FeatureSet, summary: dict[str, Any]) -> None:
    feature_set.extractor = str(summary.get("extractor", ""))[:60]
    feature_set.dim = int(summary["dim"])
    feature_set.video_count = int(summary["videos"])
    feature_set.size_bytes = int(summary["size_bytes"])
    feature_set.fingerprint = str(summary["fingerprint"])
    feature_set.summary = summary
    feature_set.ready = True
    feature_set.save()
    _take(run.folder / "features", feature_set.folder)


# --- evaluate -------------------------------------------------------------------------------


def _evaluate(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    if run.of_run is None or run.version is None or run.feature_set is None:
        raise VadError(
            "run-inputs-missing",
            f"What {run.name} evaluated was deleted while it ran.",
            "Evaluate another run.",
        )
    _check_scores(run, "scores.safetensors", result["sha256"])
    patch = dict(result.get("patch") or {})
    if patch:
        patch["metrics"] = _numbers(patch.get("metrics") or {})
    if patch.get("sha256"):
        _check_scores(run, "patches.safetensors", patch["sha256"])
    metrics = _numbers(result["metrics"])
    checkpoint = Checkpoint.objects.filter(run=run.of_run, step=int(result["checkpoint_step"]))
    Evaluation.objects.create(
        run=run,
        of_run=run.of_run,
        checkpoint=checkpoint.first(),
        version=run.version,
        feature_set=run.feature_set,
        protocol=result["protocol"],
        fingerprint=result["fingerprint"],
        selection=str(result["selection"])[:40],
        frame_auc=metrics.get("auc"),
        frame_ap=metrics.get("ap_step"),
        metrics=metrics,
        intervals=result.get("intervals") or {},
        per_class=result.get("per_class") or [],
        counts=result.get("counts") or {},
        scores_sha256=result["sha256"],
        patch=patch,
        stages={
            name: {
                **_numbers({k: v for k, v in found.items() if k not in ("score", "intervals")}),
                "score": str(found.get("score", "")),
                "intervals": found.get("intervals") or {},
            }
            for name, found in (result.get("stages") or {}).items()
        },
    )
    kept = ("fingerprint", "selection", "checkpoint_step", "sha256", "left_out", "damaged")
    return {"metrics": metrics, **{name: result.get(name) for name in kept}}


def _check_scores(run: Run, name: str, sha256: str) -> None:
    if _sha256(run.folder / name) != sha256:
        raise VadError(
            "scores-invalid",
            f"The scores of {run.name} in {name} are not the ones that it says it wrote.",
            "Look for a fault of the disk, and retry the run.",
        )


def _numbers(values: dict[str, Any]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: Any) -> float | None:
    """A value that crossed the border as text ("nan") is no number to show."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise VadError(
            "file-missing", f"{path} was not written.", "Look at the end of the log; retry the run."
        ) from None


# --- files ----------------------------------------------------------------------------------


def _named_by(run: Run, what: str) -> uuid.UUID:
    """An id that a second try of the same run comes to as well."""
    return uuid.uuid5(run.pk, what)


def _take(source: Path, target: Path) -> None:
    """Move a finished folder to its place: after it the target is whole, or unchanged.

    The target's row is not committed yet, so what lies there is left over from a crash.
    """
    if not source.is_dir():
        if target.is_dir():  # renamed by a try whose transaction was lost
            return
        raise VadError(
            "file-missing", f"{source} was not written.", "Look at the end of the log; retry."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    source.rename(target)
    sync_folder(target.parent)
