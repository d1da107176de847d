"""The REST API, version 1."""

from __future__ import annotations

from django.urls import path

from webapp.accounts import api as accounts
from webapp.accounts import people_api as people
from webapp.compare.api import Compare, CompareExplain, ComparePairs
from webapp.core.schema_views import SchemaDocument
from webapp.datasets import api as datasets
from webapp.evaluations import api as evaluations
from webapp.external import api as external
from webapp.external import transfers
from webapp.fleet import api as fleet
from webapp.interop import api as interop
from webapp.notify import api as notify
from webapp.reports import api as reports
from webapp.runs import api as runs
from webapp.runs import parts_api as run_parts
from webapp.runs.bag_views import RunBags
from webapp.runs.keep_api import RunPinned, SavedViewDetail
from webapp.storage import api as storage
from webapp.storage.project_views import ProjectDeletion
from webapp.sweeps import api as sweeps

app_name = "api"
urlpatterns = [
    path("schema/", SchemaDocument.as_view(), name="schema"),
    path("me/", accounts.Me.as_view(), name="me"),
    path("tokens/", accounts.TokenList.as_view(), name="tokens"),
    path("tokens/<int:token_id>/", accounts.TokenDetail.as_view(), name="token"),
    path("people/", people.PersonList.as_view(), name="people"),
    path("people/<str:username>/", people.PersonDetail.as_view(), name="person"),
    path(
        "people/<str:username>/password-link/",
        people.PersonPasswordLink.as_view(),
        name="person-password-link",
    ),
    path("projects/", accounts.ProjectList.as_view(), name="projects"),
    path("projects/<slug:slug>/", accounts.ProjectDetail.as_view(), name="project"),
    path(
        "projects/<slug:slug>/members/<str:username>/",
        accounts.MemberDetail.as_view(),
        name="member",
    ),
    path(
        "projects/<slug:slug>/invitations/", accounts.InvitationList.as_view(), name="invitations"
    ),
    path(
        "projects/<slug:slug>/invitations/<int:invitation_id>/",
        accounts.InvitationDetail.as_view(),
        name="invitation",
    ),
    path("projects/<slug:slug>/deletion/", ProjectDeletion.as_view(), name="project-deletion"),
    path("projects/<slug:slug>/audit/", accounts.Audit.as_view(), name="audit"),
    path("projects/<slug:slug>/export/", interop.ProjectExport.as_view(), name="project-export"),
    path("runs/", runs.RunList.as_view(), name="runs"),
    path("runs/complete/", runs.RunComplete.as_view(), name="runs-complete"),
    path("runs/views/", runs.SavedViewList.as_view(), name="runs-views"),
    path("runs/views/<int:view_id>/", SavedViewDetail.as_view(), name="runs-view"),
    path("runs/<uuid:run_id>/", runs.RunDetail.as_view(), name="run"),
    path("runs/<uuid:run_id>/metrics/", run_parts.RunMetrics.as_view(), name="run-metrics"),
    path("runs/<uuid:run_id>/log/", run_parts.RunLog.as_view(), name="run-log"),
    path("runs/<uuid:run_id>/log/search/", run_parts.RunLogSearch.as_view(), name="run-log-search"),
    path("runs/<uuid:run_id>/lineage/", run_parts.RunLineage.as_view(), name="run-lineage"),
    path("runs/<uuid:run_id>/events/", run_parts.RunEvents.as_view(), name="run-events"),
    path("runs/<uuid:run_id>/bags/", RunBags.as_view(), name="run-bags"),
    path(
        "runs/<uuid:run_id>/checkpoints/",
        run_parts.RunCheckpoints.as_view(),
        name="run-checkpoints",
    ),
    path("runs/<uuid:run_id>/pin/", RunPinned.as_view(), name="run-pin"),
    path(
        "runs/<uuid:run_id>/checkpoints/<int:step>/file/",
        run_parts.RunCheckpointFile.as_view(),
        name="run-checkpoint-file",
    ),
    path(
        "runs/<uuid:run_id>/checkpoints/<int:step>/pin/",
        storage.CheckpointPin.as_view(),
        name="checkpoint-pin",
    ),
    path("runs/<uuid:run_id>/<slug:action>/", runs.RunAction.as_view(), name="run-action"),
    path("pipelines/", runs.PipelineList.as_view(), name="pipelines"),
    path("configs/", runs.ConfigList.as_view(), name="configs"),
    path("configs/<slug:kind>/", runs.ConfigSchema.as_view(), name="config"),
    path("datasets/", datasets.DatasetList.as_view(), name="datasets"),
    path("datasets/<int:dataset_id>/", datasets.DatasetDetail.as_view(), name="dataset"),
    path("versions/<uuid:version_id>/", datasets.VersionDetail.as_view(), name="version"),
    path("versions/<uuid:version_id>/videos/", datasets.VersionVideos.as_view(), name="videos"),
    path(
        "versions/<uuid:version_id>/videos/<int:video_id>/thumbnail/",
        datasets.VideoThumbnail.as_view(),
        name="thumbnail",
    ),
    path(
        "versions/<uuid:version_id>/differences/",
        datasets.VersionDifferences.as_view(),
        name="differences",
    ),
    path("feature-sets/", datasets.FeatureSetList.as_view(), name="feature-sets"),
    path(
        "feature-sets/<uuid:feature_set_id>/",
        datasets.FeatureSetDetail.as_view(),
        name="feature-set",
    ),
    path("evaluations/", evaluations.EvaluationList.as_view(), name="evaluations"),
    path("evaluations/<uuid:run_id>/", evaluations.EvaluationDetail.as_view(), name="evaluation"),
    path(
        "evaluations/<uuid:run_id>/timeline/",
        evaluations.EvaluationTimeline.as_view(),
        name="evaluation-timeline",
    ),
    path(
        "evaluations/<uuid:run_id>/videos/",
        evaluations.EvaluationVideos.as_view(),
        name="evaluation-videos",
    ),
    path(
        "evaluations/<uuid:run_id>/maps/",
        evaluations.EvaluationMaps.as_view(),
        name="evaluation-maps",
    ),
    path(
        "evaluations/<uuid:run_id>/truth/",
        evaluations.EvaluationTruth.as_view(),
        name="evaluation-truth",
    ),
    path(
        "evaluations/<uuid:run_id>/errors/",
        evaluations.EvaluationErrors.as_view(),
        name="evaluation-errors",
    ),
    path(
        "evaluations/<uuid:run_id>/<slug:name>/",
        evaluations.EvaluationCurve.as_view(),
        name="evaluation-curve",
    ),
    path("compare/", Compare.as_view(), name="compare"),
    path("compare/pairs/", ComparePairs.as_view(), name="compare-pairs"),
    path("compare/explain/", CompareExplain.as_view(), name="compare-explain"),
    path("reports/", reports.ReportList.as_view(), name="reports"),
    path("reports/<uuid:report_id>/", reports.ReportDetail.as_view(), name="report"),
    path(
        "reports/<uuid:report_id>/revisions/",
        reports.RevisionList.as_view(),
        name="report-revisions",
    ),
    path(
        "reports/<uuid:report_id>/revisions/<int:number>/",
        reports.RevisionDetail.as_view(),
        name="report-revision",
    ),
    path("reports/<uuid:report_id>/freeze/", reports.ReportFreeze.as_view(), name="report-freeze"),
    path(
        "reports/<uuid:report_id>/recheck/", reports.ReportRecheck.as_view(), name="report-recheck"
    ),
    path(
        "reports/<uuid:report_id>/export/<slug:form>/",
        reports.ReportExport.as_view(),
        name="report-export",
    ),
    path(
        "reports/<uuid:report_id>/comments/", reports.CommentList.as_view(), name="report-comments"
    ),
    path(
        "reports/<uuid:report_id>/comments/<int:comment_id>/",
        reports.CommentDetail.as_view(),
        name="report-comment",
    ),
    path("reports/<uuid:report_id>/links/", reports.LinkList.as_view(), name="report-links"),
    path(
        "reports/<uuid:report_id>/links/<int:link_id>/",
        reports.LinkDetail.as_view(),
        name="report-link",
    ),
    path("external/", external.ExternalList.as_view(), name="external-list"),
    path("external/<uuid:run_id>/uploads/", transfers.UploadList.as_view(), name="uploads"),
    path("external/<uuid:run_id>/files/", transfers.FileList.as_view(), name="files"),
    path(
        "external/<uuid:run_id>/files/<uuid:file_id>/", transfers.FileDetail.as_view(), name="file"
    ),
    path("external/uploads/<uuid:upload_id>/", transfers.UploadDetail.as_view(), name="upload"),
    path("external/<uuid:run_id>/", external.ExternalDetail.as_view(), name="external"),
    *(
        path(f"external/<uuid:run_id>/{name}/", view.as_view(), name=f"external-{name}")
        for name, view in {
            "metrics": external.ExternalMetrics,
            "history": external.ExternalHistory,
            "log": external.ExternalLog,
            "params": external.ExternalParams,
            "tags": external.ExternalTags,
            "labels": external.ExternalLabels,
            "end": external.ExternalEnd,
            "resume": external.ExternalResume,
        }.items()
    ),
    path("queue/", fleet.Queue.as_view(), name="queue"),
    path("queue/pause/", fleet.QueuePause.as_view(), name="queue-pause"),
    path("workers/", fleet.Workers.as_view(), name="workers"),
    path("workers/<str:name>/<slug:action>/", fleet.WorkerAction.as_view(), name="worker-action"),
    path("sweeps/", sweeps.SweepList.as_view(), name="sweeps"),
    path("sweeps/<uuid:sweep_id>/", sweeps.SweepDetail.as_view(), name="sweep"),
    path("sweeps/<uuid:sweep_id>/trials/", sweeps.SweepTrials.as_view(), name="sweep-trials"),
    path(
        "sweeps/<uuid:sweep_id>/<slug:action>/", sweeps.SweepAction.as_view(), name="sweep-action"
    ),
    path("storage/", storage.Storage.as_view(), name="storage"),
    path("storage/rule/", storage.Rule.as_view(), name="storage-rule"),
    path("storage/orphans/", storage.Orphans.as_view(), name="storage-orphans"),
    path("storage/deletion/", storage.DeletionPreview.as_view(), name="storage-deletion"),
    path("usage/", fleet.UsageList.as_view(), name="usage"),
    path("notifications/channels/", notify.ChannelList.as_view(), name="channels"),
    path(
        "notifications/channels/<int:channel_id>/", notify.ChannelDetail.as_view(), name="channel"
    ),
    path(
        "notifications/channels/<int:channel_id>/<slug:action>/",
        notify.ChannelAction.as_view(),
        name="channel-action",
    ),
    path("notifications/rules/", notify.RuleList.as_view(), name="rules"),
    path("notifications/rules/<int:rule_id>/", notify.RuleDetail.as_view(), name="rule"),
    path("notifications/deliveries/", notify.Deliveries.as_view(), name="deliveries"),
]
