"""The filter language: it reads what it writes, never breaks, and finds what it says."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from filter_reference import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from vad.configs import CONFIGS
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.runs import chunks
from webapp.runs.filtering.compiling import compiled
from webapp.runs.filtering.completion import Known, complete
from webapp.runs.filtering.names import CONFIG, FIELDS, OPERATORS, Ref, Type, config_fields
from webapp.runs.filtering.parse import parse
from webapp.runs.filtering.problem import FilterError
from webapp.runs.filtering.tree import Ago, And, Condition, Node, Not, Or, Word, text_of
from webapp.runs.filtering.values import STATES
from webapp.runs.models import Run, State

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
VALUED = [name for name, f in config_fields().items() if f.type != Type.LIST]

# --- reading what it writes -----------------------------------------------------------------

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
moments = st.one_of(
    st.floats(0, 1e9).map(Ago),
    st.dates(date(1970, 1, 1), date(2100, 1, 1)),
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda d: d.replace(tzinfo=UTC)),
)
refs = st.one_of(
    st.sampled_from([Ref(name) for name in FIELDS]),
    st.sampled_from([Ref(name, CONFIG) for name in VALUED]),
    st.builds(Ref, texts, st.sampled_from(["last", "min", "max"])),
)


@st.composite
def conditions(draw: Any) -> Condition:
    ref = draw(refs)
    operator = draw(st.sampled_from(OPERATORS[ref.type]))
    if ref.type == Type.NUMBER:
        value: Any = draw(numbers)
    elif ref.type == Type.DURATION:
        value = draw(st.floats(0, 1e9))
    elif ref.type == Type.TIME:
        value = draw(moments.filter(lambda m: operator not in ("=", "!=") or type(m) is not Ago))
    elif ref == Ref("state"):
        value = draw(st.sampled_from(STATES))
    elif ref == Ref("kind"):
        value = draw(st.sampled_from(sorted(CONFIGS)))
    elif ref.of == CONFIG and config_fields()[ref.name].choices:
        value = draw(st.sampled_from(config_fields()[ref.name].choices))
    else:
        value = draw(texts)
    return Condition(ref, operator, value)


def nested(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(parts.map(Not), several.map(And), several.map(Or))


trees = st.recursive(st.one_of(conditions(), st.builds(Word, texts)), nested, max_leaves=6)


@given(trees)
@settings(max_examples=400, deadline=None)
def test_a_filter_reads_as_it_was_written(tree: Node) -> None:
    text = text_of(tree)
    if len(text) <= 1000:
        assert parse(text) == tree


PIECES = """auc config.lr tag state created took name last(loss/total) min( "a b" " ( ) and or not
= != < <= > >= : 0.8 1e-4 7d 2026-11-20 running \\ ! é 1e999 .."""
pieces = st.lists(st.sampled_from(PIECES.split()), max_size=12).map(" ".join)


@given(st.one_of(pieces, texts, st.text(max_size=40)))
@settings(max_examples=600, deadline=None)
def test_no_text_breaks_it_and_every_refusal_names_a_place(text: str) -> None:
    try:
        parse(text)
    except FilterError as error:
        assert 0 <= error.start <= error.end <= len(text)
        assert error.message
        assert error.fields["q"] == error.message
        shown, mark = error.problems
        place = mark.index("^")
        if error.token:
            assert shown[place : place + mark.count("^")].split() == error.token.split()


@given(st.one_of(pieces, texts), st.integers(-3, 60))
@settings(max_examples=400, deadline=None)
def test_completion_replaces_what_stands_before_the_cursor(text: str, at: int) -> None:
    known = Known(metrics=["loss/total"], tags=["paper", "a b"], owners=["kim"])

    found = complete(text, at, known)

    assert 0 <= found.start <= found.end <= len(text)
    assert found.end == max(0, min(at, len(text)))
    assert len({p.text for p in found.proposals}) == len(found.proposals)


# --- what it refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "token", "says"),
    [
        ("auc > 0.8 and confg.lr < 1", "confg.lr", "Did you mean config.lr"),
        ("acu > 3", "acu", "Did you mean auc"),
        ("lr > 3", "lr", "Did you mean config.lr"),
        ("loss/total > 3", "loss/total", "last(loss/total)"),
        ("state:runing", "runing", "Did you mean running"),
        ("config.resize = 3", "config.resize", "is a list"),
        ("tag != x", "!=", "compared with : ="),
        ("auc : 3", ":", "compared with = !="),
        ("auc > x", "x", "is no number"),
        ("auc >", "", "there must be a number"),
        ("auc > 1 and", "", "must follow"),
        ("(auc > 1", "(", "never closed"),
        ("auc > 1)", ")", "would close"),
        ("a or or b", "or", "cannot stand here"),
        ("took > 90", "90", "90s, 90min, 90h"),
        ("created = 7d", "7d", "not with ="),
        ("created > 2026-13-01", "2026-13-01", "calendar"),
        ("config.compile = maybe", "maybe", "neither true nor false"),
        ('name:"open', '"open', "never closed"),
        ("last() > 1", "()", "no metric"),
        ("not " * 30 + "a", "n", "levels"),
        ("a " * 60, None, "More than 50"),
        ("a" * 1001, "a", "1,000 at most"),
    ],
)
def test_a_refusal_says_what_where_and_what_else(text: str, token: str | None, says: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse(text)

    assert says in f"{refused.value.message} {refused.value.hint}"
    if token is not None:
        assert text[refused.value.start : refused.value.end] == token


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "auc"), ("auc", "auc"), ("auc ", "="), ("auc > 0.8 ", "and"),
        ("auc > 0.8 and c", "config."),
        ("tag:", "paper"), ("tag:pa", "paper"), ("state:run", "running"), ("owner:k", "kim"),
        ("last(", "last(loss/total)"), ("min(tot", "min(loss/total)"),
        ("config.selection = ", "validation"),
        ("created > ", "7d"), ("(no", "not"), ("dataset:", '"campus v1"'),
    ],
)  # fmt: skip
def test_completion_knows_what_may_stand_there(text: str, expected: str) -> None:
    known = Known(metrics=["loss/total"], tags=["paper"], owners=["kim"], datasets=["campus v1"])

    found = complete(text, len(text), known)

    assert any(p.text.startswith(expected) for p in found.proposals), found.proposals


# --- what it finds --------------------------------------------------------------------------


@pytest.fixture
def seeded(
    make_run: Callable[..., Run], version: DatasetVersion, feature_set: FeatureSet, make_user: Any,
    project: Any,
) -> list[Run]:  # fmt: skip
    """Sixty runs that differ in all that a filter can ask for; much of it is missing in some."""
    rng = random.Random(11)
    mira = make_user("mira", project=project)
    for _ in range(60):
        kind = rng.choice(["train-urdmu", "train-two-stage", "extract"])
        config = (
            {"lr": rng.choice([1e-3, 3e-4, 1e-4, 1e-5]), "seed": rng.choice([1, 2, 3]),
             "dropout": rng.choice([0.0, 0.3, 0.5]), "compile": rng.random() < 0.5}
            if kind != "extract" else {}
        )  # fmt: skip
        begun = NOW - timedelta(days=rng.choice([0, 1, 6, 8, 40]), hours=rng.randint(0, 9))
        started = rng.random() < 0.7
        run = make_run(
            state=rng.choice([State.QUEUED, State.SUCCEEDED, State.FAILED, State.HELD]),
            kind=kind, config=config, name=rng.choice(["Alpha", "beta 100%", "a_b", 'q"uote']),
            tags=rng.sample(["paper", "Paper", "lr", 'a"b', "Prüfung"], rng.randint(0, 2)),
            notes=rng.choice(["", "look again", "Stabbing_videos"]),
            version=version if rng.random() < 0.6 else None, done=rng.choice([0, 600, 3000]),
            started_at=begun if started else None,
            ended_at=begun + timedelta(minutes=rng.choice([5, 90, 600]))
            if started and rng.random() < 0.8 else None,
            **({"owner": mira} if rng.random() < 0.3 else {}),
        )  # fmt: skip
        Run.objects.filter(pk=run.pk).update(created_at=begun)
        if rng.random() < 0.6:
            chunks.append(run, {
                "loss/total": (np.arange(3), np.array([rng.random(), rng.random(), rng.random()])),
                **({"odd key": (np.arange(1), np.array([np.nan]))} if rng.random() < 0.5 else {}),
            })  # fmt: skip
        for _ in range(rng.choice([0, 0, 1, 2]) if kind != "extract" else 0):
            test = make_run(state=State.SUCCEEDED, kind="evaluate", of_run=run)
            auc = rng.choice([None, 0.5, 0.8, 0.9])
            patch = {"metrics": {"patch_auc": rng.choice([None, 0.6, 0.7])}}
            Evaluation.objects.create(
                run=test, of_run=run, version=version, feature_set=feature_set, fingerprint="p",
                selection="last", frame_auc=auc, frame_ap=rng.choice([None, 0.2, 0.4]),
                scores_sha256="", patch=patch if rng.random() < 0.5 else {},
            )  # fmt: skip
    return list(Run.objects.select_related("owner", "version__dataset"))


FILTERS = [
    "auc > 0.8", "auc >= 0.8", "auc = 0.8", "auc != 0.8", "not auc > 0.8", "ap <= 0.2",
    "not ap <= 0.2",
    "patch_auc > 0.6", "patch_auc != 0.7", "not patch_auc = 0.7",
    "config.lr <= 1e-4", "config.lr = 3e-4", "config.lr != 0.0003", "not config.lr < 1e-3",
    "seed = 2", "config.dropout = 0", "config.compile = true", "config.compile:false",
    "config.extractor = motion", "config.extractor != motion", "not config.extractor:mot",
    "last(loss/total) < 0.5", "not min(loss/total) < 0.2", "max(loss/total) >= 0.9",
    'last("odd key") < 1', 'not last("odd key") < 1', "loss > 0.5",
    "tag:paper", "tag:Paper", 'tag:"a\\"b"', "not tag:paper", "tag = Prüfung",
    "state:active", "state != active", "state = held", "not (state:failed or state:queued)",
    "kind:train", "kind = evaluate", "kind != evaluate", "owner:MIR", "owner = mira",
    "owner != mira",
    'dataset:"SET"', "not dataset:set", "notes:stab", "notes:_", "name:%", "name:a_b",
    "name = Alpha",
    'name:"q\\""', "alpha", "mira", "set", "not set", "beta 100%",
    "created > 7d", "created <= 7d", "created = 2026-11-26", "created > 2026-11-26",
    "created != 2026-11-27", "created <= 2026-11-21", "ended < 1d", "not ended < 1d",
    "started >= 2026-11-20T12:00", "took > 1h", "took <= 5min", "not took > 1h", "took = 90min",
    "steps >= 600", "steps = 0.5", "steps != 600", "priority = 0",
    "auc > 0.5 and config.lr <= 1e-4 and tag:paper or kind:extract and not took > 1h",
]  # fmt: skip


def test_the_query_finds_what_the_filter_says(seeded: list[Run]) -> None:
    for text in FILTERS:
        node = parse(text)
        assert node is not None

        found = set(Run.objects.filter(compiled(node, NOW)))

        wanted = {run for run in seeded if fits(node, run, NOW)}
        assert {r.pk for r in found} == {r.pk for r in wanted}, text
    halves = [n for n in FILTERS if 0 < sum(fits(parse(n), r, NOW) for r in seeded) < len(seeded)]
    assert len(halves) > 0.8 * len(FILTERS)  # they do tell runs apart


def test_any_tree_finds_what_it_says(seeded: list[Run]) -> None:
    """Conditions joined by and, or, not at random, from a seed."""
    rng = random.Random(5)
    leaves = [node for text in FILTERS if (node := parse(text)) is not None]

    def grow(depth: int) -> Node:
        if depth == 0:
            return rng.choice(leaves)
        parts = tuple(grow(depth - 1) for _ in range(2))
        return rng.choice([Not(parts[0]), And(parts), Or(parts)])

    for _ in range(60):
        tree = grow(rng.randint(1, 4))

        found = set(Run.objects.filter(compiled(tree, NOW)).values_list("pk", flat=True))

        assert found == {r.pk for r in seeded if fits(tree, r, NOW)}, text_of(tree)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
@settings(max_examples=60, deadline=None)
def test_a_number_of_the_configuration_equals_itself(
    django_db_blocker: Any, django_db_setup: None, number: float
) -> None:
    """Also on SQLite, whose own reading of decimals is off by a bit now and then."""
    from django.db import connection
    from django.db.models import Value
    from django.db.models.fields.json import JSONField

    from webapp.core.jsonvalues import JsonLiteral, JsonNumber

    with django_db_blocker.unblock():
        from django.contrib.contenttypes.models import ContentType

        column = Value({"lr": number}, output_field=JSONField())
        rows = ContentType.objects.annotate(here=JsonNumber(column, "lr"), same=JsonLiteral(number))
        row = rows.values_list("here", "same").first()
        connection.close()
    assert row is not None
    assert row[0] == row[1]


def test_times_are_compared_with_now(make_run: Callable[..., Run]) -> None:
    run = make_run(state=State.SUCCEEDED)
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(days=6))

    later, earlier = parse("created > 7d"), parse("created > 5d")
    assert later is not None
    assert earlier is not None
    assert Run.objects.filter(compiled(later)).exists()
    assert not Run.objects.filter(compiled(earlier)).exists()
