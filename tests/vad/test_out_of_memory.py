"""A device or host without room is an error for people, not a crash."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from vad import cli, results
from vad.errors import VadError


@pytest.mark.parametrize(
    ("raised", "where"),
    [(MemoryError(), "The host's memory"), (torch.OutOfMemoryError("CUDA"), "The GPU's memory")],
)
def test_the_command_says_that_memory_ran_out(monkeypatch, capsys, raised, where):
    def run_out(args: argparse.Namespace) -> int:
        raise raised

    class Parser:
        def parse_args(self, words: list[str]) -> argparse.Namespace:
            return argparse.Namespace(handler=run_out, json=True)

    monkeypatch.setattr(cli, "_parser", lambda words: Parser())

    assert cli.main(["train"]) == results.EXIT_ERROR
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["event"], said["error"]["code"]) == ("failed", "memory-exhausted")
    assert said["error"]["message"].startswith(where)


def test_other_exceptions_are_crashes():
    assert cli.out_of_memory(ValueError("memory")) is None
    assert isinstance(cli.out_of_memory(MemoryError()), VadError)
