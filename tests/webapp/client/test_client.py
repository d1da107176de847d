"""The client and `vadlab` against a real server: logging, transfers that are cut, commands."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from vad.client import Client, cli, files, recorder, settings, tables, transport
from vad.client.progress import Bar
from vad.errors import VadError
from webapp.external.models import Upload
from webapp.runs import chunks, metrics
from webapp.runs.models import Run, State

pytestmark = pytest.mark.django_db(transaction=True)


class Line:
    """A way to the server that can be cut.

    Args:
        after: bytes towards the server until the connection is cut, each `cuts` times.
    """

    def __init__(self, to: str) -> None:
        self.to = to.removeprefix("http://").split(":")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.after, self.back, self.cuts, self.away = 1 << 60, 1 << 60, 0, False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            if self.away:
                near.close()
                continue
            far = socket.create_connection((self.to[0], int(self.to[1])))
            for one, other, most in ((near, far, self.after), (far, near, self.back)):
                threading.Thread(target=self._pass, args=(one, other, most), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, most: int) -> None:
        passed = 0
        try:
            while data := one.recv(1 << 16):
                passed += len(data)
                if passed > most and self.cuts:
                    self.cuts -= 1
                    for end in (one, other):
                        end.shutdown(socket.SHUT_RDWR)
                    return
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def line(live_server) -> Iterator[Line]:
    made = Line(live_server.url)
    yield made
    made.server.close()


# --- a script that logs ---------------------------------------------------------------------


def test_what_a_script_logs_is_the_runs(client, project):
    with client.log_run(name="mine", params={"lr": 0.1, "net": {"depth": 3}}, total=100) as run:
        for step in range(50):
            run.log({"loss": 1 / (step + 1), "auc": np.float32(0.5)}, step)
        run.log({"loss": math.nan, "auc": math.inf})
        run.text("first line\nsecond")
        assert run.update({"seed": 1})

    row = Run.objects.get(pk=run.id)
    assert (row.state, row.name, row.done, row.total) == (State.SUCCEEDED, "mine", 50, 100)
    assert row.config == {"lr": 0.1, "net.depth": 3, "seed": 1}
    found = metrics.read_raw(row, "loss")
    assert found.steps.tolist() == list(range(51))
    assert math.isnan(found.values[-1])
    assert metrics.read_raw(row, "auc").values[-1] == math.inf
    assert (row.folder / "log.txt").read_text() == "first line\nsecond\n"


def test_an_exception_is_the_reason_of_the_failure(client, project):
    with pytest.raises(RuntimeError), client.log_run() as run:
        raise RuntimeError("out of ideas")

    row = Run.objects.get(pk=run.id)
    assert (row.state, row.error["message"]) == (State.FAILED, "RuntimeError: out of ideas")


def test_a_server_that_is_away_harms_no_training_and_gets_all_when_it_is_back(
    line, token, project, caplog
):
    line.away = True
    run = Client(line.url, token).log_run(name="patient")
    for step in range(100):
        run.log({"loss": float(step)}, step)
    assert not run.flush(timeout_s=0.2)

    line.away = False
    assert run.finish()
    assert metrics.read_raw(Run.objects.get(pk=run.id), "loss").values.tolist() == list(range(100))
    assert sum("is sent when it is back" in text for text in caplog.messages) == 1


def test_a_server_that_stays_away_is_a_warning_and_nothing_else(line, token, project, caplog):
    line.away = True
    run = Client(line.url, token).log_run()
    run.log({"loss": 1.0})

    assert not run.upload("/nowhere")
    assert not run.finish(timeout_s=0.2)
    assert "did not get 1 points" in caplog.text


def test_answers_that_get_lost_double_nothing(line, token, project):
    run = Client(line.url, token).log_run()
    line.back, line.cuts = 0, 3  # the server does it, and its answer does not arrive
    for step in range(5):
        run.log({"loss": float(step)}, step)
        run.text(f"step {step}")
    assert run.finish()

    row = Run.objects.get(pk=run.id)
    assert line.cuts == 0
    assert (row.folder / "log.txt").read_text() == "".join(f"step {n}\n" for n in range(5))
    assert metrics.read_raw(row, "loss").total == 5


def test_a_bad_value_is_left_out_with_one_warning(client, project, caplog):
    with client.log_run() as run:
        for step in range(3):
            run.log({"ok": 1.0, "picture": "a.png", "a,b": 2.0}, step)
        run.log({"ok": 2.0}, step="soon")  # type: ignore[arg-type]

    row = Run.objects.get(pk=run.id)
    assert [key for key in metrics.keys(row) if key != "sys/step"] == ["ok"]
    assert sum("'a.png' is no number" in text for text in caplog.messages) == 1
    assert sum("is no name of a metric" in text for text in caplog.messages) == 1


def test_a_wrong_token_or_setting_is_said_before_the_training(live_server, client, project):
    with pytest.raises(VadError) as refused:
        Client(live_server.url, "vad_wrong").log_run()
    assert refused.value.code == "token-invalid"
    with pytest.raises(VadError, match="characters"):
        client.log_run(name="x" * 200)


def test_who_stops_the_run_on_its_page_tells_the_script(client, project, user):
    run = client.log_run()
    client.runs.act(run.id, "stop")
    run.log({"loss": 1.0})
    run.flush()

    assert run.stopped
    assert run.finish()
    assert Run.objects.get(pk=run.id).state == State.CANCELLED


def test_more_than_can_wait_is_thinned_and_keeps_the_last(line, token, project, monkeypatch):
    monkeypatch.setattr(recorder, "MOST_POINTS", 100)
    line.away = True
    run = Client(line.url, token).log_run()
    for step in range(1000):
        run.log({"loss": float(step)}, step)
    line.away = False
    assert run.finish()

    found = metrics.read_raw(Run.objects.get(pk=run.id), "loss")
    assert (len(found.steps) <= 101, int(found.steps[-1])) == (True, 999)


# --- files ----------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "model.safetensors"
    rng = np.random.default_rng(0)
    path.write_bytes(safetensors.numpy.save({"w": rng.standard_normal(100_000)}))
    return path


@pytest.mark.parametrize("way", ["to", "from"])
def test_an_upload_that_is_cut_in_the_middle_arrives_whole(
    line, token, project, weights, monkeypatch, way
):
    monkeypatch.setattr(files, "BLOCK", 50_000)
    run = Client(line.url, token).log_run()
    if way == "to":
        line.after = 120_000  # in the middle of a part
    else:
        line.back = 0  # after the part was written, before that is known
    line.cuts = 3
    assert run.upload_checkpoint(weights, 10, best=True, metrics={"auc": 0.9})
    assert run.upload(weights, "again/model.bin")
    assert run.finish()

    assert line.cuts == 0
    row = Run.objects.get(pk=run.id)
    checkpoint = row.checkpoints.get()
    assert (row.folder / checkpoint.path).read_bytes() == weights.read_bytes()
    assert Upload.objects.filter(finished_at=None).count() == 0


def test_a_download_that_is_cut_goes_on_and_is_checked(
    line, token, client, project, weights, tmp_path
):
    run = client.log_run()
    run.upload_checkpoint(weights, 10)
    run.upload(weights, "deep/model.bin")
    line.back, line.cuts = 300_000, 2
    cut = Client(line.url, token)
    place = cut.runs.download_checkpoint(run.id, "last", tmp_path / "got.safetensors")

    assert place.read_bytes() == weights.read_bytes()
    assert line.cuts == 0
    (file,) = [f for f in client.runs.files(run.id) if f.kind == "artifact"]
    part = tmp_path / "out" / "deep" / f"model.bin.{file.sha256[:8]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"what an earlier try left, damaged")
    got = client.runs.download_file(file, tmp_path / "out")
    assert got == tmp_path / "out" / "deep" / "model.bin"
    assert got.read_bytes() == weights.read_bytes()
    run.finish()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_a_file_never_leaves_its_folder(tmp_path, name):
    with pytest.raises(VadError, match="outside of"):
        files.inside(tmp_path / "out", name)


# --- reading and waiting --------------------------------------------------------------------


def test_runs_are_listed_found_and_waited_for(client, make_run):
    ended = make_run(state=State.SUCCEEDED, name='a "quoted" one')
    make_run(state=State.FAILED)

    assert [run.state for run in client.runs.list(q="state=failed")] == ["failed"]
    assert len(list(client.runs.list(limit=1))) == 1
    assert client.runs.find('a "quoted" one').id == str(ended.pk)
    assert client.runs.find(f"http://x/runs/{ended.pk}/").id == str(ended.pk)
    assert client.runs.wait(str(ended.pk)).has_ended
    with pytest.raises(VadError, match="no run"):
        client.runs.find("nobody")
    queued = make_run()
    with pytest.raises(TimeoutError):
        client.runs.wait(str(queued.pk), timeout_s=0, every_s=0)


def test_points_come_whole_however_many(client, make_run, monkeypatch):
    run = make_run(state=State.RUNNING)
    steps = np.arange(0, 5000, 2)
    chunks.append(run, {"loss": (steps, np.sqrt(steps))})
    monkeypatch.setattr("vad.client.api.RAW_POINTS", 700)

    assert list(client.runs.points(str(run.pk), "loss")) == [
        (s, math.sqrt(s)) for s in range(0, 5000, 2)
    ]


# --- vadlab ---------------------------------------------------------------------------------


def test_a_run_is_queued_from_the_terminal(vadlab, feature_set):
    code, out, _ = vadlab("submit", "train-urdmu", "--features", feature_set.pk, "--set", "lr=0.01")
    run = Run.objects.get(pk=out.strip())
    assert (code, run.config["lr"], run.state) == (0, 0.01, State.QUEUED)

    code, _, err = vadlab("submit", "train-urdmu", "--set", "lr=-1")
    assert (code, "must be above 0" in err) == (1, True)


def test_watch_says_how_it_ended(vadlab, make_run):
    made = make_run(state=State.SUCCEEDED, done=5, total=5)
    chunks.append(made, {"auc": (np.arange(2), np.array([0.1, 0.8]))})
    code, out, _ = vadlab("watch", made.pk)
    assert (code, "auc 0.8" in out, f"{made.name} succeeded" in out) == (0, True, True)
    assert vadlab("watch", make_run(state=State.FAILED).pk)[0] == 1


def test_logs_print_the_whole_log(vadlab, make_run):
    run = make_run(state=State.SUCCEEDED)
    run.folder.mkdir(parents=True)
    (run.folder / "log.txt").write_text("one\ntwo\n")
    assert vadlab("logs", "-f", run.pk)[:2] == (0, "one\ntwo\n")


@pytest.mark.parametrize("form", tables.FORMATS)
def test_compare_writes_every_form(vadlab, client, project, form):
    made = []
    for lr in (0.1, 0.2):
        with client.log_run(name=f"=lr_{lr}", params={"lr": lr}) as run:
            run.log({"val/auc": lr})
        made.append(run.id)
    code, out, _ = vadlab("compare", *made, "--format", form, "--metric", "val/auc")
    assert code == 0
    mark = {"table": "run ", "markdown": "| run | val/auc | lr |", "csv": "'=lr_0.1,0.1000,0.1",
            "latex": r"=lr\_0.1 & 0.1000 & 0.1 \\"}  # fmt: skip
    assert mark[form] in out


def test_download_and_export_write_files(vadlab, client, project, weights, tmp_path):
    with client.log_run(name="kept") as run:
        run.log({"loss": 0.25}, 3)
        run.text("hello")
        run.upload_checkpoint(weights, 10)
        run.upload(weights, "deep/model.bin")
    code, out, _ = vadlab("download", run.id, "-o", tmp_path)
    assert (code, Path(out.strip()).read_bytes()) == (0, weights.read_bytes())
    assert vadlab("download", run.id, "--file", "nothing")[0] == 1
    assert vadlab("export", "kept", "-o", tmp_path, "--files")[0] == 0

    folder = tmp_path / run.id
    assert "loss,3,0.25" in (folder / "metrics.csv").read_text()
    assert (folder / "log.txt").read_text() == "hello\n"
    assert json.loads((folder / "run.json").read_text())["name"] == "kept"
    assert (folder / "files/deep/model.bin").read_bytes() == weights.read_bytes()


def test_login_keeps_a_token_that_others_cannot_read(
    live_server, token, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv(settings.FILE, str(tmp_path / "c" / "client.json"))
    assert cli.main(["--url", live_server.url, "--token", token, "login"]) == 0
    assert settings.path().stat().st_mode & 0o777 == 0o600
    assert settings.find() == settings.Found(url=live_server.url, token=token)

    settings.path().chmod(0o644)
    assert cli.main(["watch", "x"]) == 1
    assert "can be read by others" in capsys.readouterr().err
    settings.path().unlink()
    assert cli.main(["watch", "x"]) == 1
    assert "vadlab login" in capsys.readouterr().err


def test_a_bar_is_drawn_for_people_and_shows_no_tricks():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for out, drawn in ((Terminal(), True), (io.StringIO(), False)):
        with Bar("a\x1b[31mb", out) as bar:
            bar.show(1, 2, "note")
        assert ("50%" in out.getvalue()) is drawn
        assert "\x1b[31m" not in out.getvalue()


# --- docs/client.md -------------------------------------------------------------------------


def test_the_examples_of_the_documentation_run(
    live_server, token, project, weights, monkeypatch, capsys
):
    monkeypatch.setenv(settings.URL, live_server.url)
    monkeypatch.setenv(settings.TOKEN, token)
    monkeypatch.chdir(weights.parent)
    Path("report.txt").write_text("all is well")
    text = (Path(__file__).parents[3] / "docs" / "client.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/client.md", "exec"), {})

    assert set(Run.objects.values_list("name", "state")) == {
        ("my baseline", "succeeded"), ("with files", "succeeded"),
    }  # fmt: skip
    assert "my baseline succeeded" in capsys.readouterr().out


# --- the way there --------------------------------------------------------------------------


def test_a_token_is_never_sent_on(live_server, token):
    with pytest.raises(VadError, match="sends on to"):
        transport.Transport(live_server.url, token).get("/runs")


@pytest.mark.parametrize("url", ["", "example.org", "ftp://x", "file:///etc/passwd"])
def test_an_address_is_one_of_a_server(url):
    with pytest.raises(VadError, match="no address"):
        transport.Transport(url, "t")


def test_what_is_no_vadlab_is_said_so():
    for body in (b"<html>", b"[" * 100_000, b"\xff"):
        assert "no answer of VADLab" in transport.error_of(502, body).message


def test_the_client_needs_no_more_than_python():
    import subprocess

    code = "import sys, vad.client.cli; print(*sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert not {"numpy", "torch", "django", "safetensors"} & set(done.stdout.split())
    assert logging.getLogger("vad.client")
