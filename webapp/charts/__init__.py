"""Figures: pure functions, data in, a dict for plotly.js out. No Django, no plotly.py, no numpy.

The contract with static/js/charts.js, JSON without NaN (a gap is null):

    {
      "data":   [trace, ...],        # plotly.js 4 traces of the cartesian bundle
      "layout": {...},               # title, axis titles with units, legend; no theme colours
      "alt":    "What one sees, in words, with the numbers that matter.",
      "live":   false,               # true: ask again while the page is visible
      "note":   "2,000 of 216,000 points",          # optional, small text beside the title
      "x_scale": 60,                                # optional: seconds in a unit of a time axis
      "csv":    {"columns": [...], "rows": [[...]]} # optional; without it, the traces' points
    }

One figure serves both themes: text, grid and hover colours are set in the browser, and any string
"var(--name)" in traces or layout is replaced by that CSS variable's colour. Run colours come from
`palette.style(index)`; the index is stored with the selection. plotly.js reads a few HTML tags in
text, so `<`, `>` and `&` of names are escaped here.
"""

from webapp.charts.bags import BagStep, bag_curves, bag_history, bag_memory
from webapp.charts.bars import ClassValues, class_histogram, per_class
from webapp.charts.curves import Band, Curve, OperatingPoint, pr, roc
from webapp.charts.figure import Figure
from webapp.charts.metrics import Series, metric_curves
from webapp.charts.palette import Style, assign, style
from webapp.charts.scatter import VideoPoint, videos_scatter
from webapp.charts.timeline import ScoreTrack, score_timeline

__all__ = [
    "BagStep",
    "Band",
    "ClassValues",
    "Curve",
    "Figure",
    "OperatingPoint",
    "ScoreTrack",
    "Series",
    "Style",
    "VideoPoint",
    "assign",
    "bag_curves",
    "bag_history",
    "bag_memory",
    "class_histogram",
    "metric_curves",
    "per_class",
    "pr",
    "roc",
    "score_timeline",
    "style",
    "videos_scatter",
]
