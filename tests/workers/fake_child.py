"""A child process that behaves as its first argument says; what follows `--` is ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from vad import results  # noqa: E402
from vad.errors import VadError  # noqa: E402
from vad.reporting import exit_when_parent_dies  # noqa: E402


def send(record: results.Record) -> None:
    sys.stdout.write(results.to_line(record) + "\n")
    sys.stdout.flush()


def start(total: int = 5, done: int = 0) -> None:
    send(
        results.Started(pid=os.getpid(), device="cpu", total=total, unit="steps", resumed_step=done)
    )


def end() -> None:
    path = "checkpoints/step-000005.safetensors"
    send(results.CheckpointWritten(step=5, path=path, sha256="0", size_bytes=1, best=True))
    send(results.Result(kind="train-urdmu", data={"answer": 42}))


def wait_for_signal(number: int = signal.SIGTERM) -> None:
    asked = threading.Event()
    signal.signal(number, lambda *_: asked.set())
    start()
    asked.wait()


def succeed() -> None:
    start()
    for step in range(1, 6):
        send(results.Metrics(step=step, values={"loss/total": 1 / step}))
        send(results.Progress(done=step, total=5, unit="steps"))
    end()


def fail() -> None:
    start()
    error = VadError("features-missing", "Three videos have no features.", "Extract them.")
    send(results.Failed(error=error.to_dict()))
    sys.exit(results.EXIT_ERROR)


def die(number: str) -> None:
    start()
    print("about to die", file=sys.stderr, flush=True)
    os.kill(os.getpid(), int(number))


def leave(code: str) -> None:
    start()
    sys.exit(int(code))


def stop() -> None:
    wait_for_signal()
    send(results.Stopped(step=3))
    sys.exit(results.EXIT_STOPPED)


def stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start()
    time.sleep(600)


def unprepared() -> None:
    """Still importing: no handler yet."""
    start()
    time.sleep(600)


def garbage() -> None:
    sys.stdout.buffer.write(b"\xff\xfe\x00 not text\n")
    print('{"event":"metrics","step":1}')  # a field is missing
    print('{"event":"unheard-of"}')
    print('{"event":')
    print("[1, 2]\n\nplain words")
    start()
    print('{"event":"metrics","step":1,"values":{"loss/total":"not a number"}}')
    end()
    sys.stdout.write("no newline at the end")


def split(delay_s: str) -> None:
    """Records that arrive in pieces, and two in one piece."""
    start()
    lines = "".join(
        results.to_line(results.Metrics(step=step, values={"loss/total": 0.5})) + "\n"
        for step in (1, 2, 3)
    )
    for piece in (lines[:7], lines[7:100], lines[100:]):
        sys.stdout.write(piece)
        sys.stdout.flush()
        time.sleep(float(delay_s))
    end()


def huge() -> None:
    start()
    sys.stdout.write("x" * (20 << 20) + "\n")
    send(results.Metrics(step=1, values={"loss/total": 1.0}))
    send(results.Result(kind="train-urdmu", data={"text": "y" * (1 << 20)}))


def flood(lines: str) -> None:
    start()
    for i in range(int(lines)):
        sys.stdout.write(f"line {i} of no interest whatever to anybody at all\n")
        sys.stderr.write(f"warning {i} of no interest whatever to anybody at all\n")
    end()


def many(records: str) -> None:
    start(total=int(records))
    for step in range(1, int(records) + 1):
        send(results.Metrics(step=step, values={"loss/total": 1.0}))
    end()


def wait_for(path: str) -> None:
    """Metrics up to 3, then wait for a file, then the rest."""
    start()
    for step in (1, 2, 3):
        send(results.Metrics(step=step, values={"loss/total": 1.0}))
    while not Path(path).exists():
        time.sleep(0.01)
    for step in (4, 5):
        send(results.Metrics(step=step, values={"loss/total": 1.0}))
    end()


def orphan(path: str) -> None:
    """Leave a process behind that holds the output open."""
    start()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(str(left.pid))
    end()


def environment(path: str) -> None:
    start()
    Path(path).write_text("\n".join(f"{k}={v}" for k, v in os.environ.items()))
    end()


def together(folder: str) -> None:
    """One of several processes that torchrun started; the first speaks, all stop when asked."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    text = f"{rank} of {size} sees {os.environ['CUDA_VISIBLE_DEVICES']}"
    Path(folder, f"rank-{rank}").write_text(text)
    if rank == "0":
        start()
    asked.wait()
    if rank == "0":
        send(results.Stopped(step=3))
    sys.exit(results.EXIT_STOPPED)


def parent(path: str) -> None:
    """End when the supervisor does."""
    exit_when_parent_dies()
    start()
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


if __name__ == "__main__":
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    globals()[own[0]](*own[1:])
