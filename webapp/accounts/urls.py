"""The settings pages."""

from __future__ import annotations

from django.urls import path

from webapp.accounts import people_views, views

app_name = "settings"
urlpatterns = [
    path("", views.account, name="account"),
    path("sessions/end/", views.sessions_end, name="sessions-end"),
    path("recovery-mail/", views.recovery_mail, name="recovery-mail"),
    path("people/", people_views.everybody, name="people"),
    path("people/<int:user_id>/", people_views.person, name="person"),
    path("people/<int:user_id>/<slug:action>/", people_views.person_act, name="person-act"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<int:token_id>/revoke/", views.token_end, name="token-revoke"),
    path("projects/", views.projects, name="projects"),
    path("switch/", views.project_switch, name="project-switch"),
    path("projects/<slug:slug>/", views.project, name="project"),
    path("projects/<slug:slug>/rename/", views.project_rename, name="project-rename"),
    path("projects/<slug:slug>/leave/", views.project_leave, name="project-leave"),
    path("projects/<slug:slug>/members/<int:user_id>/", views.member, name="member"),
    path("projects/<slug:slug>/invitations/", views.invitation_new, name="invitation-new"),
    path(
        "projects/<slug:slug>/invitations/<int:invitation_id>/revoke/",
        views.invitation_end,
        name="invitation-revoke",
    ),
    path("projects/<slug:slug>/audit/", views.audit, name="audit"),
]
