"""What nvidia-smi says of the GPUs."""

from __future__ import annotations

from workers import devices

SAID = """\
GPU-aaaa, 97, 61234, 81559, 64
GPU-bbbb, [N/A], 12, 81559, [Not Supported]
NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.
"""


def test_each_gpu_is_read_and_what_the_driver_does_not_say_is_unknown():
    assert devices.parse(SAID) == {
        "GPU-aaaa": {"use_percent": 97, "used_mb": 61234, "memory_mb": 81559, "celsius": 64},
        "GPU-bbbb": {"use_percent": None, "used_mb": 12, "memory_mb": 81559, "celsius": None},
    }


def test_without_the_program_nothing_is_known(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    assert devices.look() == {}
