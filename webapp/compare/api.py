"""Several runs side by side over HTTP."""

from __future__ import annotations

from dataclasses import asdict

from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.compare import comparison
from webapp.core.api import Request, int_param, invalid
from webapp.core.query import uuids
from webapp.evaluations.api import evaluation_json
from webapp.runs import metrics
from webapp.runs.api import STEP_MAX, keys_param, points_param


class Compare(APIView):
    """GET: `?runs=id,id&keys=a,b&max_points=1000&from=&to=`: curves, numbers, differences.

    Without `keys` there are no curves, only the metrics that could be asked for.
    """

    def get(self, request: Request) -> Response:
        ids = uuids(request.GET.getlist("runs"))
        if not 1 <= len(ids) <= comparison.MOST_RUNS:
            raise invalid({"runs": f"name 1 to {comparison.MOST_RUNS} runs"})
        low = int_param(request, "from", None, least=-STEP_MAX, most=STEP_MAX)
        high = int_param(request, "to", None, least=-STEP_MAX, most=STEP_MAX)
        keys, most = keys_param(request), points_param(request)
        runs = comparison.chosen(request.user, ids)
        evaluations = comparison.evaluations(runs)
        columns = [comparison.Column(run=run, evaluation=evaluations.get(run.pk)) for run in runs]
        found = metrics.read_many(
            [run.pk for run in runs], keys, max_points=most, from_step=low, to_step=high
        )
        series: dict[str, dict[str, object]] = {key: {} for key in keys}
        for (run_id, key), part in found.items():
            series[key][str(run_id)] = part.to_json()
        return Response(
            {
                "runs": [
                    {"id": r.pk, "name": r.name, "state": r.state, "color": r.color} for r in runs
                ],
                "keys": comparison.metric_keys(runs),
                "series": series,
                "evaluations": {
                    str(run_id): evaluation_json(e) for run_id, e in evaluations.items()
                },
                "not_comparable": [asdict(w) for w in comparison.not_comparable(columns)],
                "config_differences": {
                    line.name: [cell.value for cell in line.cells]
                    for line in comparison.config_rows(columns)
                },
            }
        )
