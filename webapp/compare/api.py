"""Several runs side by side over HTTP."""

from __future__ import annotations

from dataclasses import asdict

from rest_framework.response import Response
from rest_framework.views import APIView

from vad.evaluation.anatomy import explain_difference
from webapp.compare import comparison, draws, selection
from webapp.compare.selection import Member
from webapp.compare.shapes import (
    CellJson,
    ComparisonJson,
    ExplanationJson,
    GroupOfRunsJson,
    PairsJson,
)
from webapp.core.api import Request, invalid
from webapp.core.openapi import operation, text
from webapp.core.query import uuids
from webapp.evaluations import scores as store
from webapp.evaluations.api import evaluation_json
from webapp.runs import metrics
from webapp.runs.models import Run
from webapp.runs.params import FROM, KEYS, POINTS, TO, keys_param, points_param

RUNS = text("runs", f"ids of runs, {selection.MOST_RUNS} at most, with commas", required=True)
GROUP = text("group", "members are groups: seed, tag or config.FIELD")
METRIC = text("metric", "what is compared; auc without it", choices=draws.TESTED)


class Compare(APIView):
    @operation("Compare runs", query=[RUNS, GROUP, KEYS, POINTS, FROM, TO], returns=ComparisonJson)
    def get(self, request: Request) -> Response:
        """Curves, numbers, and what differs. Without `keys` there are no curves, only the metrics
        that could be asked for. The numbers of a group are means over its runs.
        """
        runs, members = _chosen(request)
        low, high = FROM.of(request), TO.of(request)
        keys, most = keys_param(request), points_param(request)
        found = metrics.read_many(
            [run.pk for run in runs], keys, max_points=most, from_step=low, to_step=high
        )
        series: dict[str, dict[str, object]] = {key: {} for key in keys}
        for (run_id, key), part in found.items():
            series[key][str(run_id)] = part.to_json()
        table = comparison.metric_table(members, None)
        return Response(
            {
                "runs": [
                    {"id": r.pk, "name": r.name, "state": r.state, "color": r.color} for r in runs
                ],
                "members": [
                    {
                        **_member_json(row.member),
                        "metrics": {
                            column.name: _cell_json(cell)
                            for column, cell in zip(table.columns, row.cells, strict=True)
                        },
                    }
                    for row in table.rows
                ],
                "keys": comparison.metric_keys(runs),
                "series": series,
                "evaluations": {
                    str(e.of_run_id): evaluation_json(e) for m in members for e in m.evaluations
                },
                "not_comparable": [asdict(w) for w in comparison.not_comparable(members)],
                "config_differences": {
                    setting.name: [v if len(v) > 1 else v[0] for v, _ in setting.cells]
                    for setting in comparison.settings(members)
                },
            }
        )


class ComparePairs(APIView):
    @operation("Paired differences", query=[RUNS, GROUP, METRIC], returns=PairsJson)
    def get(self, request: Request) -> Response:
        """Of every two members, over the same resamples of the test videos; `p_holm` is corrected
        for the number of pairs. 400 where the protocols differ; of patch metrics, where those of
        the patches do or a run has none.
        """
        _, members = _chosen(request)
        members = [member for member in members if member.evaluations]
        metric = request.GET.get("metric", "auc")
        if metric not in draws.TESTED:
            raise invalid({"metric": f"one of {', '.join(draws.TESTED)}"})
        if len(members) < 2 or not draws.comparable(members, metric):
            what = "with patch scores of" if metric in draws.PATCH else "under"
            raise invalid({"runs": f"name two or more runs evaluated {what} one protocol"})
        return Response(
            {
                "metric": metric,
                "samples": draws.SAMPLES,
                "members": [_member_json(member) for member in members],
                "pairs": [pair.to_dict() for pair in draws.all_pairs(members, metric)],
            }
        )


class CompareExplain(APIView):
    @operation("What explains a difference", query=[RUNS], returns=ExplanationJson)
    def get(self, request: Request) -> Response:
        """Which videos and classes explain the difference of two runs' AUC."""
        _, members = _chosen(request)
        evaluations = [e for member in members for e in member.evaluations]
        if len(members) != 2 or len(evaluations) != 2 or not draws.comparable(members):
            raise invalid({"runs": "name two runs that were evaluated under one protocol"})
        return Response(explain_difference(*(store.load(e) for e in evaluations)))


def _chosen(request: Request) -> tuple[list[Run], list[Member]]:
    ids = uuids(request.GET.getlist("runs"))
    if not 1 <= len(ids) <= selection.MOST_RUNS:
        raise invalid({"runs": f"name 1 to {selection.MOST_RUNS} runs"})
    runs = selection.chosen(request.user, ids)
    by, known = request.GET.get("group", ""), dict(selection.ways(runs))
    if by and by not in known:
        raise invalid({"group": f"for these runs one of: {', '.join(filter(None, known))}"})
    return runs, selection.members(runs, selection.evaluations(runs), by)


def _member_json(member: Member) -> GroupOfRunsJson:
    return {"name": member.name, "runs": [run.pk for run in member.runs]}


def _cell_json(cell: comparison.Cell) -> CellJson | None:
    if cell.value is None:
        return None
    return {
        "value": cell.value, "low": cell.low, "high": cell.high,
        "deviation": cell.deviation, "n": cell.n,
    }  # fmt: skip
