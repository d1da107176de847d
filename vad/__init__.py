"""Weakly supervised video anomaly detection: models, data, training, evaluation.

A plain library with a command line (``python -m vad``). It knows nothing of the server.
"""

__version__ = "0.1.0"
