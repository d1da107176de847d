"""The queue page."""

from __future__ import annotations

from django.urls import path

from webapp.fleet import views

app_name = "fleet"
urlpatterns = [
    path("", views.queue, name="queue"),
    path("pause/", views.pause, name="pause"),
    path("resume/", views.resume, name="resume"),
    path("runs/<uuid:run_id>/move/", views.move, name="move"),
    path("runs/<uuid:run_id>/more-time/", views.more_time, name="more-time"),
    path("workers/<int:worker_id>/<slug:action>/", views.worker_act, name="worker"),
]
