"""Which code and which machine a run says that it was made by."""

from __future__ import annotations

import subprocess

import pytest
import torch

from vad import devices, provenance
from vad.training import engine


def test_the_code_hash_changes_with_any_module_and_only_with_modules(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "sub" / "b.py").write_text("")
    first = provenance.code_hash(tmp_path)

    (tmp_path / "a.pyc").write_bytes(b"cache")
    assert provenance.code_hash(tmp_path) == first
    (tmp_path / "sub" / "b.py").rename(tmp_path / "sub" / "c.py")
    renamed = provenance.code_hash(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    assert len({first, renamed, provenance.code_hash(tmp_path)}) == 3


@pytest.fixture
def repository(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *who, "-C", str(tmp_path), *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a.py").write_text("x = 1\n")
    git("add", "a.py")
    git("commit", "-qm", "first")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    return tmp_path, git


def test_the_commit_is_told_and_whether_files_changed_since(repository):
    folder, git = repository
    clean = provenance.code()
    (folder / "a.py").write_text("x = 2\n")

    assert (clean["commit"], clean["dirty"]) == (git("rev-parse", "HEAD"), False)
    assert provenance.code()["dirty"] is True


def test_outside_of_a_repository_the_hash_alone_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    found = provenance.code()

    assert (found["commit"], found["dirty"]) == (None, None)
    assert len(found["code_sha256"]) == 64


def test_the_driver_is_read_from_what_the_kernel_says(tmp_path, monkeypatch):
    path = tmp_path / "version"
    path.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023\n"
        "GCC version:  gcc version 12.3.0\n"
    )
    monkeypatch.setattr(provenance, "NVIDIA", path)
    assert provenance.machine()["driver"] == "535.104.05"
    path.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\n"
    )
    assert provenance.machine()["driver"] == "550.54.15"
    monkeypatch.setattr(provenance, "NVIDIA", tmp_path / "none")
    assert provenance.machine()["driver"] is None


def test_the_environment_of_a_run_says_all_of_it():
    found = devices.environment(torch.device("cpu"))

    assert {"code_sha256", "commit", "dirty", "host", "numpy", "deterministic"} <= set(found)
    assert found["cuda"] is None


def test_a_training_says_what_it_was_really_given():
    given = {"data": {"features": "ab", "videos": 3}, "start": "cd", "config": {}}

    assert engine._origin(given) == {"features_sha256": "ab", "start_sha256": "cd"}
    assert engine._origin({"data": {"features": "ab"}, "start": ""}) == {"features_sha256": "ab"}
