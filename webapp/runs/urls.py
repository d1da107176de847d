"""Pages of runs."""

from __future__ import annotations

from django.urls import path

from webapp.runs import bag_views, create, detail, list_views, views
from webapp.storage.views import checkpoint_pin

app_name = "runs"
urlpatterns = [
    path("", list_views.run_list, name="list"),
    path("live/", list_views.run_live, name="live"),
    path("bulk/", list_views.run_bulk, name="bulk"),
    path("columns/", list_views.column_list, name="columns"),
    path("pin/", list_views.run_pin, name="pin"),
    path("views/", list_views.view_list, name="views"),
    path("views/<int:view_id>/", list_views.view_change, name="view"),
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
    path("<uuid:run_id>/checkpoints/<int:step>/pin/", checkpoint_pin, name="checkpoint-pin"),
    path("<uuid:run_id>/bags/", bag_views.run_bags, name="bags"),
    path("<uuid:run_id>/bags/figures/<slug:name>/", bag_views.run_bag_figure, name="bag-figure"),
    path("<uuid:run_id>/notes/", views.run_note, name="notes"),
    path("<uuid:run_id>/priority/", views.run_priority, name="priority"),
    path("<uuid:run_id>/<slug:action>/", views.run_act, name="act"),
]
