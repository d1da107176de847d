"""What a run's processes use, as the worker measures it from outside."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time

import pytest

from webapp.runs import chunks, metrics
from webapp.runs.models import Run
from workers import nvml, usage

BUSY = """
import subprocess, sys, time
held = bytearray(64_000_000)
held[::4096] = b"x" * len(held[::4096])
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def busy():
    """A session of two processes: one holds 64 MB and sleeps, the other computes."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout.readline() == b"ready\n"
    yield process
    subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
    process.wait()
    process.stdout.close()


def test_the_whole_tree_is_measured(busy):
    before = usage.read(busy.pid)
    time.sleep(0.5)
    found = usage.between(before, usage.read(busy.pid))

    assert found["memory_mb"] > 64 + 5  # and a second interpreter
    assert 5 < found["cpu_percent"] < 130  # the one that computes shares two cores with others
    assert found["read_mb_s"] >= 0
    assert found["write_mb_s"] >= 0


def test_another_session_is_not_counted(busy, until):
    own = usage.read(busy.pid)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        until(lambda: usage.read(other.pid) is not None, "the other session has its program")
        alone = usage.read(other.pid)
        other.kill()

    assert alone.memory_bytes < own.memory_bytes / 4
    assert usage.read(2**22 + 1) is None  # there is no such one


def test_a_name_with_spaces_and_brackets_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "PROC", tmp_path)
    fields = ["S", "1", "77", "77", *"0" * 7, "100", "50", "0", "0", *"0" * 6, "25", *"0" * 5]
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "stat").write_text(f"77 (a) b) ({') '.join('xy')}) {' '.join(fields)}\n")
    (tmp_path / "self").mkdir()

    found = usage.read(77)

    assert found.cpu_s * os.sysconf("SC_CLK_TCK") == 150
    assert found.memory_bytes == 25 * os.sysconf("SC_PAGE_SIZE")
    assert found.read_bytes is None  # this kernel keeps no account


def test_a_process_that_has_ended_is_not_measured_as_one_without_memory():
    with subprocess.Popen(["true"], start_new_session=True) as ended:
        flags = os.WEXITED | os.WNOWAIT
        os.waitid(os.P_PID, ended.pid, flags)  # it is there until it is waited for

        assert usage.read(ended.pid) is None


def test_nor_is_one_that_is_about_to_end_and_gave_its_memory_back(tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "PROC", tmp_path)
    for pid, pages in (("40", 0), ("41", 300)):
        (tmp_path / pid).mkdir()
        fields = ["R", "1", pid, pid, *["0"] * 17, str(pages), *["0"] * 20]
        (tmp_path / pid / "stat").write_text(f"{pid} (python) {' '.join(fields)}\n")

    assert usage.read(40) is None
    assert usage.read(41).memory_bytes == 300 * os.sysconf("SC_PAGE_SIZE")


def test_without_proc_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "PROC", tmp_path / "missing")

    assert usage.read(1) is None


def test_rates_are_of_the_time_between():
    at = {"memory_bytes": 2_000_000}
    before = usage.Reading(at_s=10, cpu_s=4, read_bytes=0, write_bytes=1_000_000, **at)
    now = usage.Reading(at_s=14, cpu_s=10, read_bytes=8_000_000, write_bytes=0, **at)

    assert usage.between(before, now) == {
        "cpu_percent": 150.0, "memory_mb": 2.0, "read_mb_s": 2.0, "write_mb_s": 0.0,
    }  # fmt: skip


def test_a_sampler_says_how_far_the_run_was(busy, monkeypatch):
    monkeypatch.setattr(usage, "FIRST_AFTER_S", 0.05)
    monkeypatch.setattr(usage, "EVERY_S", 0.05)
    said, three = [], threading.Event()

    def take(sample):
        said.append(sample)
        if len(said) == 3:
            three.set()

    steps = iter([None, *range(10, 1000)])
    with usage.Sampler(busy.pid, cuda_devices="", on_sample=take, step=lambda: next(steps)):
        assert three.wait(10)

    assert "sys/step" not in said[0].values
    assert [s.values["sys/step"] for s in said[1:3]] == [10, 11]
    assert all(key.startswith(chunks.SYSTEM) for s in said for key in s.values)
    assert said[0].at < said[1].at


def test_a_child_that_has_no_memory_yet_is_looked_at_again(busy, monkeypatch):
    monkeypatch.setattr(usage, "FIRST_AFTER_S", 0.05)
    real, looks, sampled = usage.read, [], threading.Event()

    def read(session):
        looks.append(session)
        return None if len(looks) < 3 else real(session)

    monkeypatch.setattr(usage, "read", read)
    with usage.Sampler(
        busy.pid, cuda_devices="", on_sample=lambda _: sampled.set(), step=lambda: None
    ):
        assert sampled.wait(10)


def test_a_run_that_is_seen_through_has_its_samples(
    claim, child, background, until, monkeypatch, tmp_path
):
    from webapp.runs.claims import Slot
    from workers import supervisor

    monkeypatch.setattr(usage, "FIRST_AFTER_S", 0.05)
    monkeypatch.setattr(usage, "EVERY_S", 0.1)
    child("wait_for", tmp_path / "go")
    running = background(lambda: supervisor.see_through(claim, Slot("cpu", 0)))
    run = Run.objects.get(pk=claim.run_id)
    until(lambda: 3 in metrics.read_raw(run, "sys/step").values, "a sample after step 3")
    (tmp_path / "go").touch()

    assert running.result() == "succeeded"
    assert metrics.read_raw(run, "loss/total").steps.tolist() == [1, 2, 3, 4, 5]
    assert metrics.read_raw(run, "sys/memory_mb").values.min() > 1
    assert metrics.read_raw(run, "sys/step").values.max() in (3, 5)


def test_a_fault_of_the_sampler_is_no_fault_of_the_run(claim, child, background, monkeypatch):
    from webapp.runs.claims import Slot
    from workers import supervisor

    def broken(session):
        raise RuntimeError("a kernel that we do not know")

    monkeypatch.setattr(usage, "read", broken)
    child("succeed")

    assert background(lambda: supervisor.see_through(claim, Slot("cpu", 0))).result() == "succeeded"


class FakeLibrary:
    """Behaves as libnvidia-ml does for one device, of which the power is not told."""

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):
        self.asked = uuid
        handle._obj.value = 7
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = 7 + index.value
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle, share):
        share._obj.gpu = 83
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj.used = 4_500_000_000
        return 0

    def nvmlDeviceGetPowerUsage(self, handle, power):
        return 3


def test_a_gpu_is_asked_by_its_id_or_its_number():
    driver = nvml.Driver(FakeLibrary())

    assert driver.usage("GPU-1") == {"util_percent": 83.0, "memory_mb": 4500.0}
    assert driver.usage("0") == {"util_percent": 83.0, "memory_mb": 4500.0}
    assert driver.usage("GPU-2") == {}


def test_the_structures_are_as_large_as_the_librarys():
    assert ctypes.sizeof(nvml._Utilization) == 8
    assert ctypes.sizeof(nvml._Memory) == 24
