"""Free slots, and the devices behind them."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from webapp.runs.claims import Slot
from workers import slots
from workers.slots import Device, Table

LISTING = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb)
  MIG 3g.71gb     Device  0: (UUID: MIG-1111)
  MIG 1g.18gb     Device  1: (UUID: MIG-2222)
"""
GPUS = [Device("GPU-aaaa", "A"), Device("GPU-bbbb", "B")]


def test_a_slot_is_taken_once():
    table = Table(cpu_slots=1, gpus=[])

    assert table.take("cpu") == [Slot("cpu", 0)]
    assert table.take("cpu") == []


def test_a_bell_for_gpus_takes_a_gpu_first_and_a_cpu_slot_when_there_is_no_other():
    table = Table(cpu_slots=1, gpus=GPUS[:1])

    taken = [[str(slot) for slot in table.take("gpu")] for _ in range(3)]
    assert taken == [["gpu:0"], ["cpu:0"], []]


def test_a_run_may_have_all_free_gpus_and_gives_back_what_it_leaves():
    table = Table(cpu_slots=2, gpus=GPUS)

    both = table.take("gpu")
    assert [str(slot) for slot in both] == ["gpu:0", "gpu:1"]
    assert [str(slot) for slot in table.take("gpu")] == ["cpu:0"]  # one CPU slot is enough
    table.give_back(both[1])

    assert [str(slot) for slot in table.take("gpu")] == ["gpu:1"]


def test_a_run_of_several_gpus_sees_them_and_gives_each_back():
    table = Table(cpu_slots=0, gpus=GPUS)
    table.take("gpu")
    pair = Slot("gpu", 0, (1,))

    assert (str(pair), table.cuda_devices(pair)) == ("gpu:0+1", "GPU-aaaa,GPU-bbbb")
    table.give_back(pair)

    assert table.take("gpu") == [Slot("gpu", 0), Slot("gpu", 1)]


def test_a_bell_for_cpus_leaves_gpus_alone():
    assert Table(cpu_slots=0, gpus=GPUS).take("cpu") == []


def test_a_missed_bell_is_heard_once_by_whoever_gives_the_slot_back():
    table = Table(cpu_slots=1, gpus=[])
    taken = table.take("cpu")
    table.take("cpu")
    table.give_back(*taken)

    assert [table.bell_missed(), table.bell_missed()] == [True, False]


def test_a_divided_gpu_is_offered_as_its_parts():
    assert [d.id for d in slots.parse_listing(LISTING)] == ["GPU-aaaa", "MIG-1111", "MIG-2222"]


@pytest.mark.parametrize(
    ("visible", "ids"),
    [
        (None, ["GPU-aaaa", "GPU-bbbb"]),
        ("", []),
        ("-1", []),
        ("1", ["GPU-bbbb"]),
        ("1,0", ["GPU-bbbb", "GPU-aaaa"]),
        ("0,7,1", ["GPU-aaaa"]),
        ("GPU-bb", ["GPU-bbbb"]),
    ],
)
def test_only_the_gpus_that_the_worker_may_see_are_offered(monkeypatch, visible, ids):
    monkeypatch.setattr(slots, "find_gpus", lambda: GPUS)

    assert [d.id for d in slots.gpu_slots("auto", visible)] == ids


def test_more_slots_than_gpus_share_them(monkeypatch):
    monkeypatch.setattr(slots, "find_gpus", lambda: GPUS)

    assert [d.id for d in slots.gpu_slots("3", None)] == ["GPU-aaaa", "GPU-bbbb", "GPU-aaaa"]


def test_no_gpu_is_looked_for_when_none_is_wanted(monkeypatch):
    monkeypatch.setattr(slots, "find_gpus", lambda: pytest.fail("looked"))

    assert slots.gpu_slots("0", None) == []


def test_a_misspelt_number_of_slots_stops_the_start():
    with pytest.raises(ImproperlyConfigured, match="VADLAB_GPU_SLOTS='some'"):
        slots.gpu_slots("some", None)
