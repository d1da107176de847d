"""MLflow's client reports its use to its makers, unless it is told not to before it is imported."""

from __future__ import annotations

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
