"""Metric storage against the plainest model there is: a dictionary."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.runs import chunks, metrics, packing
from webapp.runs.models import MetricChunk, MetricSummary

KEY = "loss/total"


@pytest.fixture(autouse=True)
def small_chunks(request, monkeypatch):
    """Few points then cross many borders of chunks and buckets."""
    if "million" not in request.node.name:
        monkeypatch.setattr(chunks, "CHUNK_POINTS", 16)
        monkeypatch.setattr(packing, "BUCKET_POINTS", 4)
        monkeypatch.setattr(metrics, "_RAW_PER_POINT", 2)


def put(run, steps, values, key=KEY):
    chunks.append(run, {key: (np.asarray(steps), np.asarray(values, dtype=float))})


def stored(run, key=KEY) -> dict[int, float]:
    raw = metrics.read_raw(run, key)
    assert (np.diff(raw.steps) > 0).all()
    return dict(zip(raw.steps.tolist(), raw.values.tolist(), strict=True))


def same(a: dict[int, float], b: dict[int, float]) -> bool:
    return a.keys() == b.keys() and all(
        a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a
    )


def check_summary(run, model: dict[int, float]) -> None:
    row = MetricSummary.objects.filter(run=run, key=KEY).first()
    if not model:
        assert row is None
        return
    last = max(model)
    finite = {s: v for s, v in model.items() if math.isfinite(v)}
    assert row is not None
    assert (row.count, row.last_step) == (len(model), last)
    assert row.last == (model[last] if math.isfinite(model[last]) else None)
    assert row.least == (min(finite.values()) if finite else None)
    assert row.greatest == (max(finite.values()) if finite else None)
    if finite:
        assert model[row.least_step] == row.least
        assert model[row.greatest_step] == row.greatest


values = st.one_of(
    st.floats(-1e6, 1e6, allow_nan=False), st.sampled_from([math.nan, math.inf, -math.inf])
)
batches = st.lists(
    st.one_of(
        st.lists(st.tuples(st.integers(-5, 120), values), max_size=40),
        st.integers(-10, 130),  # a resume: forget what is later
    ),
    max_size=8,
)


@pytest.mark.django_db
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=batches, bounds=st.tuples(st.integers(-10, 130), st.integers(-10, 130)))
def test_whatever_comes_in_whatever_order_the_store_is_a_dictionary(make_run, actions, bounds):
    run = make_run()
    model: dict[int, float] = {}
    for action in actions:
        if isinstance(action, int):
            chunks.truncate_after(run, action)
            model = {s: v for s, v in model.items() if s <= action}
        else:
            put(run, [s for s, _ in action], [v for _, v in action])
            model.update(action)
        assert same(stored(run), model)
        check_summary(run, model)
    for chunk in MetricChunk.objects.filter(run=run):
        assert chunk.count <= chunks.CHUNK_POINTS

    low, high = sorted(bounds)
    inside = {s: v for s, v in model.items() if low <= s <= high}
    finite = [v for v in inside.values() if math.isfinite(v)]
    for most in (4, 8, 20, 1000):
        got = metrics.read(run, KEY, max_points=most, from_step=low, to_step=high)
        points = dict(zip(got.steps.tolist(), got.values.tolist(), strict=True))
        assert got.total == len(inside)
        assert len(points) <= most
        assert (np.diff(got.steps) > 0).all()
        for step, value in points.items():  # every point was sent; a chunk's last inf may be NaN
            assert same({step: value}, {step: inside[step]}) or (
                math.isnan(value) and not math.isfinite(inside[step])
            )
        if finite:
            assert np.nanmin(got.values[np.isfinite(got.values)]) == min(finite)
            assert np.nanmax(got.values[np.isfinite(got.values)]) == max(finite)
        if most >= len(inside) and most == 1000:
            assert same(points, inside)


@pytest.mark.django_db
@pytest.mark.parametrize("max_points", [4, 50, 400])
def test_every_level_keeps_a_spike_of_one_step(make_run, max_points):
    run = make_run()
    line = np.zeros(4000)
    line[1234], line[777] = 5.0, -5.0
    put(run, np.arange(4000), line)

    got = metrics.read(run, KEY, max_points=max_points)

    assert got.thinned
    assert got.values[got.steps == 1234] == 5.0
    assert got.values[got.steps == 777] == -5.0


@pytest.mark.django_db
def test_a_zoom_reaches_the_raw_points(make_run):
    run = make_run()
    put(run, np.arange(4000), np.sin(np.arange(4000)))

    got = metrics.read(run, KEY, max_points=100, from_step=1501, to_step=1560)

    assert got.steps.tolist() == list(range(1501, 1561))
    assert not got.thinned


@pytest.mark.django_db
def test_a_stretch_of_nan_stays_a_gap_when_thinned(make_run):
    run = make_run()
    line = np.ones(4000)
    line[1000:3000] = np.nan
    put(run, np.arange(4000), line)

    got = metrics.read(run, KEY, max_points=100)

    assert np.isnan(got.values[(got.steps > 1100) & (got.steps < 2900)]).all()
    text = json.dumps(got.to_json(), allow_nan=False)
    assert "null" in text


@pytest.mark.django_db
def test_runs_and_keys_do_not_mix(make_run):
    first, second = make_run(), make_run()
    put(first, [1, 2], [1.0, 2.0])
    put(first, [1], [10.0], key="loss/kl")
    put(second, [1], [100.0])
    chunks.truncate_after(first, 1)

    assert stored(first) == {1: 1.0}
    assert stored(first, "loss/kl") == {1: 10.0}
    assert stored(second) == {1: 100.0}
    assert metrics.keys(first) == ["loss/kl", KEY]
    found = metrics.read_many([first.pk, second.pk], [KEY, "none"])
    assert set(found) == {(first.pk, KEY), (second.pk, KEY)}


@pytest.mark.django_db
def test_reading_many_series_is_three_queries(make_run, django_assert_max_num_queries):
    runs = [make_run() for _ in range(4)]
    for run in runs:
        put(run, np.arange(2000), np.arange(2000.0))
        put(run, np.arange(10), np.arange(10.0), key="short")

    with django_assert_max_num_queries(3):
        found = metrics.read_many([r.pk for r in runs], [KEY, "short"], max_points=200)

    assert len(found) == 8


@pytest.mark.django_db
def test_an_append_costs_the_same_however_long_the_run_is(make_run, django_assert_max_num_queries):
    run = make_run()
    put(run, np.arange(2000), np.arange(2000.0))

    with django_assert_max_num_queries(7):  # two of them open and close the savepoint
        put(run, [2000, 2001], [1.0, 2.0])


@pytest.mark.django_db
def test_a_spike_in_a_million_points_is_seen_and_only_a_screen_is_read(make_run):
    run = make_run()
    line = np.random.default_rng(0).normal(size=1_000_000)
    line[654_321] = 99.0
    put(run, np.arange(1_000_000), line)

    for max_points in (50, 500, 2000):
        got = metrics.read(run, KEY, max_points=max_points)
        assert len(got.steps) <= max_points
        assert got.values[got.steps == 654_321] == 99.0
        assert got.total == 1_000_000
