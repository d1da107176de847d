"""Looking at the disk: how much room everything takes, and what does not fit the rows.

The folders are listed first and the rows read after: whoever makes a folder has its row already,
or commits it soon. What changed in the last hour is therefore never called an orphan, and what is
called one is looked at once more before it is removed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.runs.models import ENDED, Checkpoint, Run
from webapp.storage import sizes
from webapp.storage.models import Finding, Leftover, Measured, StoredArtifact

RUNS, FEATURES, DATASETS, SERVER = "runs", "features", "datasets", "server"
SETTLED_S = 3600.0  # what is younger may belong to somebody who has not committed yet
MOST_FINDINGS = 5000
SURVEY_EVERY_S = 3600.0

log = logging.getLogger(__name__)


@dataclass
class _Folder:
    """One folder of an area, as it lies on the disk."""

    key: str
    modified_s: float
    parts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    checkpoints: dict[str, tuple[int, float]] = field(default_factory=dict)  # size, modified
    torn: dict[str, tuple[int, float]] = field(default_factory=dict)
    has_scores: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(self.parts.values())


def survey() -> int:
    """Measure everything and note what does not fit; the bytes that it takes in all."""
    folders = {area: list(_folders(area)) for area in (RUNS, FEATURES, DATASETS)}
    rest = list(_rest())
    rows = _Rows()
    measured, findings = [], []
    for area, found in folders.items():
        known = rows.projects[area]
        for folder in found:
            if folder.key not in known:
                if _settled(folder.modified_s):
                    findings.append(
                        Finding(
                            kind=Finding.Kind.ORPHAN,
                            path=f"{area}/{folder.key}",
                            what=f"a folder of {area} that no row knows",
                            size_bytes=folder.size_bytes,
                        )
                    )
                continue
            measured.append(
                Measured(
                    area=area,
                    key=folder.key,
                    project_id=known[folder.key],
                    checkpoint_bytes=folder.parts[sizes.CHECKPOINTS],
                    score_bytes=folder.parts[sizes.SCORES],
                    proxy_bytes=folder.parts[sizes.PROXIES],
                    size_bytes=folder.size_bytes,
                )
            )
    findings += rows.in_runs({f.key: f for f in folders[RUNS]})
    findings += rows.without_folder({a: {f.key for f in found} for a, found in folders.items()})
    measured += [Measured(area=SERVER, key=name[:64], size_bytes=size) for name, size in rest]
    _store(measured, findings)
    return sum(row.size_bytes for row in measured)


def is_due() -> bool:
    """Whether the last survey is an hour old, or there was none."""
    newest = Measured.objects.order_by("-at").values_list("at", flat=True).first()
    return newest is None or (timezone.now() - newest).total_seconds() >= SURVEY_EVERY_S


@transaction.atomic
def _store(measured: list[Measured], findings: list[Finding]) -> None:
    leaving = set(Leftover.objects.values_list("path", flat=True))
    now = timezone.now()
    for row in measured:
        row.at = now
    Measured.objects.all().delete()
    Measured.objects.bulk_create(measured, batch_size=500)
    Finding.objects.all().delete()
    named = {(f.kind, f.path): f for f in findings if f.path not in leaving and len(f.path) <= 300}
    Finding.objects.bulk_create(list(named.values())[:MOST_FINDINGS], batch_size=500)


def is_orphan(path: str) -> bool:
    """Whether no row knows a path, by the rows and the disk as they are now."""
    area, _, rest = path.partition("/")
    key, _, inside = rest.partition("/")
    try:
        settled = _settled((settings.DATA_DIR / path).lstat().st_mtime)
    except OSError:
        return False
    if not settled or not key or area not in (RUNS, FEATURES, DATASETS):
        return False
    if inside:
        return area == RUNS and _is_orphan_in_run(_id(key), inside)
    pk = _id(key)
    if pk is None:
        return key not in (".", "..")
    known = {
        RUNS: Run.objects.filter(pk=pk),
        FEATURES: FeatureSet.objects.filter(pk=pk),
        DATASETS: DatasetVersion.objects.filter(pk=pk),
    }
    return not known[area].exists()


def _is_orphan_in_run(pk: uuid.UUID | None, inside: str) -> bool:
    run = Run.objects.filter(pk=pk, state__in=ENDED).first() if pk else None
    if run is None or ".." in Path(inside).parts:
        return False
    if Path(inside).name.startswith(".") and inside.endswith(".part"):
        return True
    in_use = Checkpoint.objects.filter(run=run, removed=None, path=inside).exists()
    return inside.startswith("checkpoints/") and not in_use


def _id(key: str) -> uuid.UUID | None:
    """The id that names a folder; None for a name that no row could have."""
    try:
        pk = uuid.UUID(key)
    except ValueError:
        return None
    return pk if str(pk) == key else None


class _Rows:
    """What the rows say should be on the disk."""

    def __init__(self) -> None:
        runs = Run.objects.values_list("pk", "project", "state", "name")
        self.runs = {str(pk): (project, state, name) for pk, project, state, name in runs}
        features = FeatureSet.objects.filter(ready=True).values_list(
            "pk", "version__dataset__project", "name"
        )
        unready = FeatureSet.objects.filter(ready=False).values_list(
            "pk", "version__dataset__project"
        )
        versions = DatasetVersion.objects.select_related("dataset")
        self.features = {str(pk): (project, name) for pk, project, name in features}
        self.versions = {str(v.pk): (v.dataset.project_id, str(v)) for v in versions}
        self.projects: dict[str, dict[str, int]] = {
            RUNS: {pk: project for pk, (project, _, _) in self.runs.items()},
            FEATURES: {
                **{pk: project for pk, (project, _) in self.features.items()},
                **{str(pk): project for pk, project in unready},
            },
            DATASETS: {pk: project for pk, (project, _) in self.versions.items()},
        }

    def in_runs(self, folders: dict[str, _Folder]) -> Iterator[Finding]:
        """Checkpoints, scores and torn files, of runs that have ended."""
        live: dict[str, dict[str, int]] = defaultdict(dict)
        for run, path, size in Checkpoint.objects.filter(removed=None).values_list(
            "run", "path", "size_bytes"
        ):
            live[str(run)][path] = size
        scored = {str(pk) for pk in Evaluation.objects.values_list("pk", flat=True)}
        stored = set(StoredArtifact.objects.values_list("path", flat=True))
        for pk, (project, state, name) in self.runs.items():
            folder = folders.get(pk) or _Folder(pk, 0.0)
            if state not in ENDED:
                continue
            about = {"project_id": project, "run_id": pk}
            unknown = {n: of for n, of in folder.checkpoints.items() if n not in live[pk]}
            for file, (size, modified_s) in {**unknown, **folder.torn}.items():
                if _settled(modified_s):
                    torn = file in folder.torn
                    yield Finding(
                        kind=Finding.Kind.ORPHAN,
                        path=f"{RUNS}/{pk}/{file}",
                        what=f"{'a torn file' if torn else 'a checkpoint without a row'} of {name}",
                        size_bytes=size,
                        **about,
                    )
            for file, size in live[pk].items():
                if file not in folder.checkpoints and f"{RUNS}/{pk}/{file}" not in stored:
                    yield _missing(
                        f"{RUNS}/{pk}/{file}", f"a checkpoint of {name}", size_bytes=size, **about
                    )
            has_scores = folder.has_scores or f"{RUNS}/{pk}/scores.safetensors" in stored
            if pk in scored and not has_scores:
                yield _missing(f"{RUNS}/{pk}/scores.safetensors", f"the scores of {name}", **about)

    def without_folder(self, keys: dict[str, set[str]]) -> Iterator[Finding]:
        """Features and data set versions whose folder is gone."""
        for area, rows in ((FEATURES, self.features), (DATASETS, self.versions)):
            for pk, (project, name) in rows.items():
                if pk not in keys[area]:
                    yield _missing(f"{area}/{pk}", f"the files of {name}", project_id=project)


def _missing(path: str, what: str, **fields: object) -> Finding:
    return Finding(kind=Finding.Kind.MISSING, path=path, what=what[:200], **fields)


def _folders(area: str) -> Iterator[_Folder]:
    """What lies in an area; a file there counts as a folder with one file."""
    root = settings.DATA_DIR / area
    for name in sorted(p.name for p in root.iterdir()) if root.is_dir() else ():
        path = root / name
        try:
            folder = _Folder(name, path.lstat().st_mtime)
        except FileNotFoundError:
            continue
        if path.is_symlink() or not path.is_dir():
            folder.parts[sizes.REST] += path.lstat().st_size
            yield folder
            continue
        for file, stat in sizes.files(path):
            first, _, below = file.partition("/")
            part = sizes.PARTS.get(first, sizes.REST) if area == RUNS else sizes.REST
            folder.parts[part] += stat.st_size
            if Path(file).name.startswith(".") and file.endswith(".part"):
                folder.torn[file] = (stat.st_size, stat.st_mtime)
            elif first == "checkpoints" and below.endswith(".safetensors"):
                folder.checkpoints[file] = (stat.st_size, stat.st_mtime)
            folder.has_scores |= file == "scores.safetensors"
        yield folder


def _rest() -> Iterator[tuple[str, int]]:
    """What else lies in the data folder: database, pictures, logs, footage."""
    for path in sorted(settings.DATA_DIR.iterdir()):
        if path.name not in (RUNS, FEATURES, DATASETS):
            is_folder = path.is_dir() and not path.is_symlink()
            yield path.name, sizes.of_folder(path) if is_folder else path.lstat().st_size


def _settled(modified_s: float) -> bool:
    return time.time() - modified_s > SETTLED_S
