from __future__ import annotations

import argparse

import pytest

from vad import options
from vad.configs import QUEUED_KINDS, RunConfig, config_class

REQUIRED = {"register": {"name": "a set", "root": "somewhere"}}


@pytest.mark.parametrize("config_type", [config_class(k) for k in QUEUED_KINDS], ids=QUEUED_KINDS)
def test_every_field_is_an_option_in_both_spellings(config_type: type[RunConfig]) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    options.add(parser, config_type, leave_out=())
    config = config_type(**REQUIRED.get(config_type.kind, {}))
    for style in ("_", "-"):
        words = []
        for name, value in config.to_dict().items():
            if value not in (None, ""):
                text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
                words += [f"--{name.replace('_', style)}", text]

        assert options.read(parser.parse_args(words), config_type) == config
    assert parser.format_help()
