"""Data sets, features and runs as a person names them in a terminal."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from vad.configs import RunConfig
from webapp.accounts.models import Project
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs.models import Run


def version(project: Project, text: str) -> DatasetVersion:
    """A version by id, as `NAME v2`, or as `NAME`, which means the newest."""
    rows = DatasetVersion.objects.filter(dataset__project=project).select_related("dataset")
    found = rows.filter(pk=_uuid(text)).first()
    if found is None:
        name, _, number = text.rpartition(" v")
        if name and number.isdecimal():
            found = rows.filter(dataset__name=name, number=int(number)).first()
        found = found or rows.filter(dataset__name=text).order_by("number").last()
    if found is None:
        raise _unknown("data set", text, [str(v) for v in rows.order_by("dataset__name", "number")])
    return found


def features(project: Project, text: str, of: DatasetVersion | None = None) -> FeatureSet:
    """A feature set by id or name, of a version if one is given; the newest of that name."""
    rows = FeatureSet.objects.filter(version__dataset__project=project)
    if of is not None:
        rows = rows.filter(version=of)
    found = (
        rows.filter(pk=_uuid(text)).first() or rows.filter(name=text).order_by("created_at").last()
    )
    if found is None:
        raise _unknown("feature set", text, list(rows.values_list("name", flat=True)))
    return found


def only_features(of: DatasetVersion) -> FeatureSet:
    """The features of a version that has one set of them."""
    rows = list(of.feature_sets.order_by("created_at"))
    if len(rows) != 1:
        names = ", ".join(f.name for f in rows) or "none; queue an extract run"
        raise CommandError(f"Name the features of {of} with --features. There are: {names}.")
    return rows[0]


def run(project: Project, text: str) -> Run:
    """A run by id or name; the newest of that name."""
    rows = Run.objects.filter(project=project)
    found = rows.filter(pk=_uuid(text)).first() or rows.filter(name=text).first()
    if found is None:
        names = rows.filter(kind__startswith="train").values_list("name", flat=True)
        raise _unknown("run", text, list(names[:20]))
    return found


def config(cls: type[RunConfig], given: str | None, overrides: list[str]) -> Any:
    """A configuration from JSON (a file's name or the text itself) and NAME=VALUE pairs."""
    data: dict[str, Any] = {}
    if given is not None:
        try:
            text = given if given.lstrip().startswith("{") else Path(given).read_text("utf-8")
            data = json.loads(text)
        except OSError as exc:
            raise CommandError(f"{given} cannot be read: {exc.strerror}.") from None
        except ValueError as exc:
            raise CommandError(f"{given} is not JSON: {exc}.") from None
        if not isinstance(data, dict):
            raise CommandError(f"{given} is not a JSON object.")
    wrong = [pair for pair in overrides if not re.match(r"\w+=", pair)]
    if wrong:
        raise CommandError(f"{wrong[0]!r} is not NAME=VALUE.")
    return cls.from_dict(data, texts=dict(pair.split("=", 1) for pair in overrides))


def _uuid(text: str) -> uuid.UUID:
    """The id, or one that nothing has."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.UUID(int=0)


def _unknown(what: str, text: str, known: list[str]) -> CommandError:
    return CommandError(f"There is no {what} {text!r}. Known: {', '.join(known) or 'none'}.")
