"""Making, describing and deleting runs."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from vad.configs import EvaluateConfig, ExtractConfig, RegisterConfig, UrdmuConfig
from vad.errors import ConfigError, VadError
from webapp.accounts.models import Project
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.runs import pipelines, services
from webapp.runs.models import Checkpoint, Run, RunEvent, State

TRAIN = UrdmuConfig(num_epochs=10)


@pytest.fixture
def make(project, user):
    def run_create(config=TRAIN, **fields):
        return services.run_create(**{"project": project, "by": user, "config": config, **fields})

    return run_create


def test_a_training_is_queued_with_its_inputs_and_rung_for(
    make, feature_set, user, bells, settings, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        run = make(feature_set=feature_set, tags=["a", " a ", ""])

    assert (run.state, run.owner, run.version) == (State.QUEUED, user, feature_set.version)
    assert run.typed_config == TRAIN
    assert run.name == f"UR-DMU on {feature_set.version}, seed 2022"
    assert run.tags == ["a"]
    assert run.max_attempts == settings.RUN_MAX_ATTEMPTS
    assert bells == ["cpu"]
    assert RunEvent.objects.get(run=run).kind == "created"


@pytest.mark.parametrize(
    ("config", "field"),
    [(TRAIN, "feature_set"), (ExtractConfig(), "version"), (EvaluateConfig(), "of_run")],
)
def test_a_run_without_what_it_works_on_is_refused(make, config, field):
    with pytest.raises(VadError) as refused:
        make(config)

    assert refused.value.code == "run-inputs-missing"
    assert field in refused.value.fields
    assert not Run.objects.exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "a/b.pkl", "../a.pkl", "..", "a\\b", "a\0b"])
def test_weights_to_start_from_are_named_and_never_a_path(make, feature_set, name):
    with pytest.raises(ConfigError) as refused:
        make(UrdmuConfig(pretrained_point=name), feature_set=feature_set)

    assert "bare name" in refused.value.fields["pretrained_point"]
    assert not Run.objects.exists()


def test_inputs_of_another_project_are_refused(make, user, make_run):
    other = Project.objects.create(name="Other", slug="other")
    dataset = Dataset.objects.create(project=other, name="x", created_by=user)
    version = DatasetVersion.objects.create(
        dataset=dataset, number=1, format="generic", fingerprint="x", created_by=user
    )
    features = FeatureSet.objects.create(version=version, name="x", ready=True)
    training = make_run(project=other, feature_set=features)

    for fields in (
        {"config": ExtractConfig(), "version": version},
        {"feature_set": features},
        {"config": EvaluateConfig(), "of_run": training},
    ):
        with pytest.raises(VadError, match="another project"):
            make(**fields)


@pytest.mark.parametrize("who", ["viewer", "stranger"])
def test_only_editors_of_the_project_make_runs(make, feature_set, who, request):
    with pytest.raises(VadError) as refused:
        make(feature_set=feature_set, by=request.getfixturevalue(who))

    assert refused.value.code == "not-allowed"


def test_features_that_are_being_made_are_waited_for(make, version):
    extract = make(ExtractConfig(), version=version)
    training = make(feature_set=extract.features_made)

    assert (extract.state, training.state) == (State.QUEUED, State.WAITING)
    assert list(training.parents.all()) == [extract]


def test_features_that_will_never_be_ready_are_refused(make, version):
    orphan = FeatureSet.objects.create(version=version, name="half")

    with pytest.raises(VadError, match="never finished"):
        make(feature_set=orphan)


def test_an_evaluation_waits_for_a_training_that_goes_on(make, make_run, feature_set):
    training = make_run(state=State.RUNNING, feature_set=feature_set, color=5)

    run = make(EvaluateConfig(), of_run=training)

    assert (run.state, run.color, run.feature_set) == (State.WAITING, 5, feature_set)
    assert run.version == feature_set.version


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.SUCCEEDED])
def test_an_ended_training_is_evaluated_if_it_left_a_checkpoint(make, make_run, feature_set, state):
    training = make_run(state=state, feature_set=feature_set)
    with pytest.raises(VadError, match="without a checkpoint"):
        make(EvaluateConfig(), of_run=training)

    Checkpoint.objects.create(run=training, step=1, path="c", sha256="a", size_bytes=1)

    assert make(EvaluateConfig(), of_run=training).state == State.QUEUED


def test_features_of_another_width_are_refused(make, make_run, feature_set, version):
    training = make_run(state=State.RUNNING, feature_set=feature_set)
    wider = FeatureSet.objects.create(version=version, name="i3d", ready=True, dim=1024)

    with pytest.raises(VadError, match="1024 numbers"):
        make(EvaluateConfig(), of_run=training, feature_set=wider)


def test_an_evaluation_of_an_evaluation_is_refused(make, make_run):
    with pytest.raises(VadError, match="training run"):
        make(EvaluateConfig(), of_run=make_run(kind="evaluate"))


def test_neighbours_have_different_colours(make, feature_set, project, user):
    assert [make(feature_set=feature_set).color for _ in range(3)] == [0, 1, 2]
    external = services.run_row(
        project=project, kind="external", config={}, by=user, name="ours", tags=[], notes=""
    )  # drawn beside them, so in the next colour
    assert external.color == 3


@pytest.mark.parametrize("fields", [{"name": "x" * 121}, {"tags": ["y" * 41]}])
def test_too_long_a_word_is_refused_by_its_field(make, feature_set, fields):
    with pytest.raises(ConfigError) as refused:
        make(feature_set=feature_set, **fields)
    assert set(refused.value.fields) == set(fields)


# --- registering -----------------------------------------------------------------------------


@pytest.fixture
def root(footage):
    folder = footage / "sets" / "one"
    folder.mkdir(parents=True)
    return folder


def register(root, **fields):
    return RegisterConfig(name="one", root=str(root), **fields)


def test_a_registration_keeps_the_resolved_paths(make, root, footage):
    (footage / "link").symlink_to(root)
    (root / "list.txt").touch()

    run = make(register("link", annotations="sets/one/list.txt"))

    assert run.config["root"] == str(root)
    assert run.config["annotations"] == str(root / "list.txt")
    assert (run.state, run.device) == (State.QUEUED, "cpu")


def test_what_lies_outside_the_roots_is_refused_without_saying_if_it_exists(
    make, root, footage, tmp_path
):
    secret = tmp_path / "secret"
    secret.mkdir()
    (root / "out").symlink_to(secret)
    for path in (
        "/etc", str(secret), str(tmp_path / "nothing"), f"{root}/../../../../secret",
        "../../secret", str(root / "out"), str(footage) + "-twin",
    ):  # fmt: skip
        with pytest.raises(VadError) as refused:
            make(register(path))
        assert refused.value.code == "path-outside-roots", path
        with pytest.raises(VadError) as refused:
            make(register(root, features=path))
        assert "features" in refused.value.fields
    assert not Run.objects.exists()


def test_the_servers_own_files_are_no_data_set(make, root, data_dir, settings, tmp_path):
    (data_dir / "secret_key").write_text("a secret that a reader would quote")
    (data_dir / "runs").mkdir()
    for roots in ([], [data_dir], [tmp_path]):
        settings.DATA_ROOTS = roots
        with pytest.raises(VadError) as refused:
            make(register(root, annotations=str(data_dir / "secret_key")))
        assert refused.value.code == "path-outside-roots", roots
        with pytest.raises(VadError) as refused:
            make(register(data_dir / "runs"))
        assert refused.value.code == "path-outside-roots", roots


@pytest.mark.parametrize("path", ["sets/none", "sets/one/file", "a\0b", "x" * 5000])
def test_a_folder_that_is_not_there_is_named(make, root, path):
    (root / "file").touch()

    with pytest.raises(VadError) as refused:
        make(register(path))

    assert refused.value.code == "file-missing"
    assert "root" in refused.value.fields


def test_a_clone_of_a_registration_is_checked_as_well(make_run, user, root):
    run = make_run(kind="register", config={"name": "one", "root": str(root)})

    with pytest.raises(VadError, match="outside"):
        services.run_clone(run=run, by=user, changes={"root": "/etc"})


# --- cloning and pipelines -------------------------------------------------------------------


def test_a_clone_has_the_same_inputs_and_the_changes(make, feature_set, user):
    run = make(feature_set=feature_set, tags=["t"])

    copy = services.run_clone(run=run, by=user, changes={"lr": 0.01})

    assert copy.config == run.config | {"lr": 0.01}
    assert (copy.feature_set, copy.cloned_from, copy.tags) == (feature_set, run, ["t"])


@pytest.mark.parametrize("changes", [{"lr": -1}, {"lerning_rate": 1}])
def test_a_clone_with_a_wrong_field_is_refused(make, feature_set, user, changes):
    run = make(feature_set=feature_set)

    with pytest.raises(ConfigError) as refused:
        services.run_clone(run=run, by=user, changes=changes)
    assert set(refused.value.fields) == set(changes)


def test_each_kind_can_be_cloned(make, make_run, user, version, feature_set, root):
    extract = make(ExtractConfig(), version=version)
    evaluate = make(EvaluateConfig(), of_run=make_run(feature_set=feature_set))

    again = services.run_clone(run=extract, by=user)
    assert again.features_made != extract.features_made
    assert services.run_clone(run=evaluate, by=user).of_run == evaluate.of_run
    assert services.run_clone(run=make(register(root)), by=user).config["root"] == str(root)


def test_a_pipeline_is_queued_as_a_whole(project, user, version):
    made = pipelines.pipeline_create(
        project=project, by=user, extract=ExtractConfig(), version=version, train=TRAIN,
        seeds=[1, 2, 3], name="demo", tags=["demo"],
    )  # fmt: skip

    assert [r.kind for r in made.runs] == ["extract"] + ["train-urdmu"] * 3 + ["evaluate"] * 3
    assert [r.state for r in made.runs] == [State.QUEUED] + [State.WAITING] * 6
    assert [r.config["seed"] for r in made.trainings] == [1, 2, 3]
    assert made.trainings[0].name == "demo, seed 1"
    assert all(r.feature_set == made.extract.features_made for r in made.trainings)
    assert [e.of_run for e in made.evaluations] == made.trainings


def test_a_pipeline_with_one_wrong_part_queues_nothing(project, user, version):
    with pytest.raises(VadError):
        pipelines.pipeline_create(
            project=project, by=user, extract=ExtractConfig(), version=version, train=TRAIN,
            seeds=[1, 1],
        )  # fmt: skip
    with pytest.raises(VadError):
        pipelines.pipeline_create(project=project, by=user, train=TRAIN, name="x")

    assert not Run.objects.exists()
    assert not FeatureSet.objects.exists()


# --- describing ------------------------------------------------------------------------------


def test_names_notes_and_tags_change(make_run, user):
    run, other = make_run(tags=["a"]), make_run()

    services.run_rename(run=run, name="  new   name ", by=user)
    services.run_annotate(run=run, notes="why", by=user)
    services.runs_tag(runs=[run, other], tag="b", by=user)

    run.refresh_from_db()
    other.refresh_from_db()
    assert (run.name, run.notes, run.tags, other.tags) == ("new name", "why", ["a", "b"], ["b"])
    with pytest.raises(ConfigError):
        services.run_rename(run=run, name=" ", by=user)


def test_a_change_of_the_name_does_not_write_over_a_state(make_run, user, worker):
    from webapp.runs.claims import Slot
    from webapp.runs.lifecycle import claiming

    stale = make_run()
    claiming.claim_best(worker=worker, slot=Slot("cpu"))

    services.run_rename(run=stale, name="x", by=user)

    stale.refresh_from_db()
    assert stale.state == State.STARTING


@pytest.mark.parametrize(
    "act",
    [
        lambda run, by: services.run_stop(run=run, by=by),
        lambda run, by: services.run_hold(run=run, by=by),
        lambda run, by: services.run_release(run=run, by=by),
        lambda run, by: services.run_retry(run=run, by=by),
        lambda run, by: services.run_prioritize(run=run, priority=1, by=by),
        lambda run, by: services.run_rename(run=run, name="x", by=by),
        lambda run, by: services.run_annotate(run=run, notes="x", by=by),
        lambda run, by: services.runs_tag(runs=[run], tag="x", by=by),
        lambda run, by: services.run_clone(run=run, by=by),
        lambda run, by: services.run_delete(run=run, by=by),
    ],
)
def test_a_viewer_changes_nothing(make_run, viewer, act):
    run = make_run()
    before = Run.objects.filter(pk=run.pk).values().get()

    with pytest.raises(VadError) as refused:
        act(run, viewer)

    assert refused.value.code == "not-allowed"
    assert Run.objects.filter(pk=run.pk).values().get() == before


# --- deleting --------------------------------------------------------------------------------


def test_deleting_frees_the_disk_and_takes_the_evaluations_along(
    make_run, user, feature_set, django_capture_on_commit_callbacks
):
    training = make_run(state=State.SUCCEEDED, feature_set=feature_set)
    evaluation = make_run(kind="evaluate", state=State.SUCCEEDED, of_run=training)
    evaluation.parents.add(training)
    other = make_run(state=State.SUCCEEDED)
    for run in (training, evaluation, other):
        run.folder.mkdir(parents=True)

    with django_capture_on_commit_callbacks(execute=True):
        services.run_delete(run=training, by=user)

    assert list(Run.objects.all()) == [other]
    assert [p.name for p in other.folder.parent.iterdir()] == [str(other.pk)]
    assert FeatureSet.objects.filter(pk=feature_set.pk).exists()


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_what_runs_is_not_deleted(make_run, user, state):
    idle, busy = make_run(state=State.FAILED), make_run(state=state)

    with pytest.raises(VadError) as refused:
        services.runs_delete(runs=[idle, busy], by=user)

    assert refused.value.code == "run-not-movable"
    assert busy.name in refused.value.message
    assert Run.objects.count() == 2


def test_what_a_waiting_run_needs_is_not_deleted(make, version, user):
    extract = make(ExtractConfig(), version=version)
    training = make(feature_set=extract.features_made)

    with pytest.raises(VadError) as refused:
        services.run_delete(run=extract, by=user)
    assert refused.value.code == "run-in-use"
    assert training.name in refused.value.message

    services.runs_delete(runs=[extract, training], by=user)
    assert not Run.objects.exists()
    assert not FeatureSet.objects.exists()


def test_features_outlive_the_run_that_made_them(make, version, user):
    extract = make(ExtractConfig(), version=version)
    FeatureSet.objects.update(ready=True)
    Run.objects.update(state=State.SUCCEEDED)
    training = make(feature_set=FeatureSet.objects.get())

    services.run_delete(run=extract, by=user)

    assert FeatureSet.objects.get().produced_by is None
    assert training.state == State.QUEUED


def test_creating_costs_few_queries(make, feature_set):
    with CaptureQueriesContext(connection) as queries:
        make(feature_set=feature_set)

    assert len(queries) <= 22


def test_many_runs_are_tagged_and_deleted_in_a_fixed_number_of_queries(make_run, user):
    def queries(count):
        runs = Run.objects.filter(pk__in=[make_run().pk for _ in range(count)])
        with CaptureQueriesContext(connection) as tagging:
            services.runs_tag(runs=list(runs), tag="  a  b ", by=user)
        assert {tuple(run.tags) for run in runs.all()} == {("a b",)}
        services.runs_tag(runs=list(runs), tag="a  b", by=user, remove=True)
        assert {tuple(run.tags) for run in runs.all()} == {()}
        with CaptureQueriesContext(connection) as deleting:
            services.runs_delete(runs=list(runs), by=user)
        return len(tagging), len(deleting)

    assert queries(2) == queries(12)
