"""The columns of the runs table: which there are, and which are shown."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from webapp.runs.filtering.names import CONFIG, FIELDS, LOSS, Ref, Type, config_fields, ref

MOST = 24
DEFAULT = (
    "state", "progress", "auc", "ap", "loss", "curve", "dataset", "kind", "tag", "owner", "created",
)  # fmt: skip
LIVE = ("state", "progress", "curve", "started", "ended", "took", "steps", "attempt")
NO_COLUMN = (Ref("name"), Ref("sweep"))  # always shown; only filtered by
_CELLS = {Type.TIME: "time", Type.DURATION: "duration", Type.NUMBER: "number"}
_UNSORTED = (Type.TAG, Type.LIST)
_SPLIT = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^,"])+)')


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Args:
        key: its name in `cols=` and `sort=`.
        cell: how a value of it is drawn (templatetags/run_cells.py).
        live: whether it changes while a run goes on.
    """

    key: str
    title: str
    help: str
    cell: str
    ref: Ref | None = None
    num: bool = False
    live: bool = False
    sortable: bool = True
    decimals: int = 0

    @property
    def slug(self) -> str:
        """For ids of elements."""
        if re.fullmatch(r"\w+", self.key):
            return self.key
        return f"v{zlib.crc32(self.key.encode()):08x}"


def key_of(name: Ref) -> str:
    """How the name is written in an address."""
    return "loss" if name == LOSS else str(name)


def column(key: str) -> Column | None:
    """The column of this key; None when there is none."""
    if key == "progress":
        return Column(key=key, title="Progress", help="How far it is.", cell=key, live=True)
    if key == "curve":
        help_ = "The total training loss over all steps."
        return Column(key=key, title="Loss curve", help=help_, cell=key, live=True, sortable=False)
    name = ref(key)
    if name is None or name in NO_COLUMN:
        return None
    type_ = name.type
    plain = FIELDS.get(name.name) if not name.of else None
    metric = bool(name.of) and name.of != CONFIG
    best = plain is not None and bool(plain.best)
    cell = _CELLS.get(type_, "text")
    if name.of == CONFIG:
        cell = "config"
    elif type_ in (Type.CHOICE, Type.TAG) or name.name in ("dataset", "owner", "notes"):
        cell = name.name
    return Column(
        key=key_of(name),
        title=name.title,
        help=name.help,
        cell=cell,
        ref=name,
        num=cell in ("number", "time", "duration") or (cell == "config" and type_ == Type.NUMBER),
        live=metric or best or key in LIVE,
        sortable=type_ not in _UNSORTED and name.name != "notes",
        decimals=4 if metric or best else 0,
    )


def chosen(given: Iterable[str]) -> tuple[Column, ...]:
    """The columns that an address names, in its order; the usual ones when it names none."""
    keys = [key.strip() for text in given for key in _SPLIT.findall(text)]
    found = {c.key: c for key in keys if (c := column(key)) is not None}
    return tuple(found.values())[:MOST] or usual()


def usual() -> tuple[Column, ...]:
    return tuple(c for key in DEFAULT if (c := column(key)) is not None)


def spelled(columns: Sequence[Column]) -> str:
    """As in an address; empty for the usual ones."""
    text = ",".join(c.key for c in columns)
    return "" if text == ",".join(DEFAULT) else text


def offered(
    shown: Sequence[Column], metric_keys: Sequence[str], settings: Sequence[str] = ()
) -> list[tuple[str, list[Column]]]:
    """What the chooser offers, by group; what is shown already comes first, in its order."""
    first = {c.key for c in shown}
    plain = ["progress", "curve", *(n for n in FIELDS if not FIELDS[n].best)]
    results = [n for n in FIELDS if FIELDS[n].best]
    of_metrics = [str(Ref(key, of)) for key in metric_keys for of in ("last", "min", "max")]
    groups = {
        "Run": plain,
        "Best evaluation": results,
        "Metrics": of_metrics,
        "Configuration": [f"{CONFIG}.{name}" for name in config_fields()],
        "Trained elsewhere": [f"{CONFIG}.{name}" for name in settings],
    }
    found: list[tuple[str, list[Column]]] = [("Shown", list(shown))]
    for title, keys in groups.items():
        columns = [c for key in keys if (c := column(key)) is not None and c.key not in first]
        found.append((title, columns))
    return found
