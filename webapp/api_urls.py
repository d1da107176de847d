"""The REST API, version 1."""

from __future__ import annotations

from django.urls import path

from webapp.accounts import api as accounts
from webapp.compare.api import Compare, CompareExplain, ComparePairs
from webapp.datasets import api as datasets
from webapp.evaluations import api as evaluations
from webapp.external import api as external
from webapp.external import transfers
from webapp.fleet import api as fleet
from webapp.interop import api as interop
from webapp.runs import api as runs
from webapp.runs.bag_views import RunBags

app_name = "api"
urlpatterns = [
    path("me/", accounts.Me.as_view(), name="me"),
    path("tokens/", accounts.TokenList.as_view(), name="tokens"),
    path("tokens/<int:token_id>/", accounts.TokenDetail.as_view(), name="token"),
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
    path("projects/<slug:slug>/audit/", accounts.Audit.as_view(), name="audit"),
    path("projects/<slug:slug>/export/", interop.ProjectExport.as_view(), name="project-export"),
    path("runs/", runs.RunList.as_view(), name="runs"),
    path("runs/complete/", runs.RunComplete.as_view(), name="runs-complete"),
    path("runs/views/", runs.SavedViewList.as_view(), name="runs-views"),
    path("runs/<uuid:run_id>/", runs.RunDetail.as_view(), name="run"),
    path("runs/<uuid:run_id>/metrics/", runs.RunMetrics.as_view(), name="run-metrics"),
    path("runs/<uuid:run_id>/log/", runs.RunLog.as_view(), name="run-log"),
    path("runs/<uuid:run_id>/log/search/", runs.RunLogSearch.as_view(), name="run-log-search"),
    path("runs/<uuid:run_id>/lineage/", runs.RunLineage.as_view(), name="run-lineage"),
    path("runs/<uuid:run_id>/events/", runs.RunEvents.as_view(), name="run-events"),
    path("runs/<uuid:run_id>/bags/", RunBags.as_view(), name="run-bags"),
    path("runs/<uuid:run_id>/checkpoints/", runs.RunCheckpoints.as_view(), name="run-checkpoints"),
    path(
        "runs/<uuid:run_id>/checkpoints/<int:step>/file/",
        runs.RunCheckpointFile.as_view(),
        name="run-checkpoint-file",
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
    path("usage/", fleet.UsageList.as_view(), name="usage"),
]
