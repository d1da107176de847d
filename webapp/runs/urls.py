"""Pages of runs."""

from __future__ import annotations

from django.urls import path

from webapp.runs import create, detail, views

app_name = "runs"
urlpatterns = [
    path("", views.run_list, name="list"),
    path("live/", views.run_live, name="live"),
    path("bulk/", views.run_bulk, name="bulk"),
    path("delete/", views.run_delete, name="delete"),
    path("new/", create.run_new, name="new"),
    path("<uuid:run_id>/", detail.run_detail, name="detail"),
    path("<uuid:run_id>/status/", detail.run_status, name="status"),
    path("<uuid:run_id>/results/", detail.run_results, name="results"),
    path("<uuid:run_id>/figures/<slug:name>/", detail.run_figure, name="figure"),
    path("<uuid:run_id>/log/", detail.run_log, name="log"),
    path("<uuid:run_id>/log/tail/", detail.run_log_tail, name="log-tail"),
    path(
        "<uuid:run_id>/checkpoints/<int:step>/file/", detail.checkpoint_file, name="checkpoint-file"
    ),
    path("<uuid:run_id>/priority/", views.run_priority, name="priority"),
    path("<uuid:run_id>/<slug:action>/", views.run_act, name="act"),
]
