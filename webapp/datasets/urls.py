"""Pages of data sets. A data set is shown by its versions; the address names one."""

from __future__ import annotations

from django.urls import path

from webapp.datasets import video_views, views

app_name = "datasets"
urlpatterns = [
    path("", views.dataset_list, name="list"),
    path("new/", views.dataset_new, name="new"),
    path("<uuid:version_id>/", views.dataset_detail, name="detail"),
    path("<uuid:version_id>/classes/", views.dataset_classes, name="classes"),
    path("<uuid:version_id>/videos/", video_views.dataset_videos, name="videos"),
    path("<uuid:version_id>/alignment/", views.dataset_alignment, name="alignment"),
    path("<uuid:version_id>/differences/", views.dataset_differences, name="differences"),
    path("<uuid:version_id>/videos/<int:video_id>/media", video_views.video_media, name="media"),
    path(
        "<uuid:version_id>/videos/<int:video_id>/thumbnail",
        video_views.video_thumbnail,
        name="thumbnail",
    ),
]
