"""Pages of reports."""

from __future__ import annotations

from django.urls import path

from webapp.reports import editing, views

app_name = "reports"
urlpatterns = [
    path("", views.report_list, name="list"),
    path("new/", editing.report_new, name="new"),
    path("make/", views.report_make, name="make"),
    path("add/", editing.panel_add, name="add"),
    path("<uuid:report_id>/", views.report_detail, name="detail"),
    path("<uuid:report_id>/edit/", editing.report_edit, name="edit"),
    path("<uuid:report_id>/history/", views.report_history, name="history"),
    path("<uuid:report_id>/restore/", views.report_restore, name="restore"),
    path("<uuid:report_id>/freeze/", views.report_freeze, name="freeze"),
    path("<uuid:report_id>/recheck/", views.report_recheck, name="recheck"),
    path("<uuid:report_id>/delete/", views.report_delete, name="delete"),
    path("<uuid:report_id>/export/<slug:form>/", views.report_export, name="export"),
    path("<uuid:report_id>/comments/", views.comment_add, name="comment-add"),
    path(
        "<uuid:report_id>/comments/<int:comment_id>/delete/",
        views.comment_delete,
        name="comment-delete",
    ),
    path("<uuid:report_id>/share/", views.report_share, name="share"),
    path("<uuid:report_id>/share/<int:link_id>/revoke/", views.share_revoke, name="share-revoke"),
]
