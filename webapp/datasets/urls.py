"""Pages of data sets. A data set is shown by its versions; the address names one."""

from __future__ import annotations

from django.urls import path

from webapp.datasets import views

app_name = "datasets"
urlpatterns = [
    path("", views.dataset_list, name="list"),
    path("new/", views.dataset_new, name="new"),
    path("<uuid:version_id>/", views.dataset_detail, name="detail"),
    path("<uuid:version_id>/classes/", views.dataset_classes, name="classes"),
    path("<uuid:version_id>/alignment/", views.dataset_alignment, name="alignment"),
    path("<uuid:version_id>/videos/<int:video_id>/media", views.video_media, name="media"),
]
