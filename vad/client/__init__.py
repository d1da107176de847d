"""A client of a VADLab server, for training scripts and notebooks. See docs/client.md.

Nothing but Python's standard library is needed: no Django, no torch.
"""

from vad.client.api import Client
from vad.client.recorder import Recorder
from vad.client.records import Checkpoint, File, LogPart, Run, Series, Sweep

__all__ = ["Checkpoint", "Client", "File", "LogPart", "Recorder", "Run", "Series", "Sweep"]
