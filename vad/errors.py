"""Errors for people: what happened, to which thing, what to do next.

Every error that a user can cause is a `VadError` with a stable code from `CATALOGUE`. Pages, the
API and the command line show the same text; anything else that escapes is a bug.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CATALOGUE: dict[str, str] = {
    "already-registered": "The data set has a version with exactly this content.",
    "annotation-invalid": "A line of an annotation file cannot be read or contradicts the videos.",
    "backup-impossible": "A backup cannot be written, or not be restored here.",
    "backup-invalid": "A backup is damaged, or of a newer version.",
    "bags-invalid": "A file of watched bags is damaged.",
    "checkpoint-invalid": "A checkpoint is damaged, or belongs to another architecture.",
    "config-invalid": "A field of a configuration is unknown, missing or out of range.",
    "dataset-invalid": "A data set has problems; all of them are listed and nothing is registered.",
    "device-missing": "The run asks for a device that this machine does not have.",
    "disk-full": "The disk has no room for a file that the run must write.",
    "evaluation-impossible": "The scores and the truth do not allow this metric.",
    "export-impossible": "An export is too large to download, or its place cannot be written.",
    "external-silent": "A run that is trained elsewhere was not heard of for too long.",
    "features-invalid": "A feature file is damaged, not numeric, or of the wrong shape.",
    "features-missing": "Videos that the run needs have no features.",
    "file-missing": "A file or folder that was named does not exist.",
    "filter-invalid": "A filter of a list cannot be read; the place is named.",
    "idempotency-mismatch": "An idempotency key was used for another request.",
    "idempotency-used": "A request was done before; its answer held a secret and is not kept.",
    "import-invalid": "What is to be imported is no store of the tool that it was said to be of.",
    "invitation-unusable": "An invitation is unknown, expired, used up or revoked.",
    "last-admin": "A project, or the server, would be left without an admin.",
    "length-required": "A request came without the length of its body.",
    "loss-not-finite": "The training loss or a gradient became infinite or not a number.",
    "manifest-invalid": "A data set's manifest is damaged or of an unknown version.",
    "log-invalid": "What a script logs has a name, step, number or text that cannot be kept.",
    "memory-exhausted": "The device has no room for what the run computes.",
    "not-allowed": "The person's role in the project does not allow this.",
    "not-empty": "A backup would be restored over an installation that is in use.",
    "not-found": "What was asked for does not exist, or not for this person.",
    "not-signed-in": "Nobody is signed in.",
    "precondition-failed": "What a request would change was changed by somebody else meanwhile.",
    "password-link-unusable": "A link to a new password is unknown, expired, used or replaced.",
    "path-outside-roots": "A path lies outside the data folders that this server may read.",
    "pdf-unavailable": "The server cannot make a PDF: it has no browser for it, or that failed.",
    "project-busy": "A project cannot be deleted while its runs are running, or others need them.",
    "proxies-invalid": "The small copies of videos are damaged, or of an unknown version.",
    "report-changed": "Somebody saved the report while another person changed it.",
    "request-invalid": "A request to the server cannot be read, or a value in it is out of range.",
    "run-in-use": "Other runs need what this run made.",
    "run-inputs-missing": "A run was given no data set, features or checkpoint that it needs.",
    "run-not-movable": "The run's state does not allow this step.",
    "scores-invalid": "A score file is damaged, or of an unknown version.",
    "server-unreachable": "The client got no answer from the server, or none it understands.",
    "shape-mismatch": "An array does not have the expected shape.",
    "sweep-failing": "The first trials of a sweep all failed.",
    "sweep-not-movable": "The sweep's state does not allow this step.",
    "storage-unreachable": "The object storage does not answer, or not as it should.",
    "share-unusable": "A link to a report is unknown, expired or revoked.",
    "time-limit": "The run used the time that it was given.",
    "token-invalid": "A token of the API is unknown, expired or revoked.",
    "too-few-videos": "A split has too few videos of one label to train or evaluate on.",
    "too-many-tries": "Something was tried too often; it is locked for a while.",
    "unexpected": "A fault of the program itself; the run's log has the trace.",
    "upload-invalid": "A file that was sent is too large, incomplete, or not what was announced.",
    "upload-offset": "A part of a file was sent for another place than the next one.",
    "video-no-track": "A file has no video track that can be decoded.",
    "video-truncated": "A video ends before the frame count that was recorded for it.",
    "video-unreadable": "A video cannot be opened or decoded.",
    "weights-missing": "Published weights that an extractor needs are not in the weights folder.",
    "worker-lost": "The process that ran the run ended without a word, on every attempt.",
}


class VadError(Exception):
    """An error with a stable code, a message that names the thing, and what to do about it.

    Args:
        code: a key of `CATALOGUE`.
        message: one or two sentences; says what happened to which thing.
        hint: what to do next.
        problems: single findings, when a check lists all of them at once.
        fields: field name to message, when single fields of a form are wrong.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        problems: Sequence[str] = (),
        fields: Mapping[str, str] | None = None,
    ) -> None:
        if code not in CATALOGUE:
            raise KeyError(f"error code {code!r} is not in the catalogue")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)
        self.fields = dict(fields or {})

    def to_dict(self) -> dict[str, Any]:
        """The one error shape of the API and of the child process' last line."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "problems": list(self.problems),
            "fields": self.fields,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VadError:
        """Rebuild an error that crossed a process border; an unknown code becomes `unexpected`."""
        code = data.get("code", "unexpected")
        return VadError(
            code if code in CATALOGUE else "unexpected",
            str(data.get("message", "")),
            str(data.get("hint", "")),
            problems=[str(p) for p in data.get("problems", ())],
            fields={str(k): str(v) for k, v in dict(data.get("fields", {})).items()},
        )


class ConfigError(VadError):
    """Fields of a configuration that are wrong, all of them at once."""

    def __init__(self, fields: Mapping[str, str], *, what: str = "The configuration") -> None:
        noun = "1 problem" if len(fields) == 1 else f"{len(fields)} problems"
        listed = "; ".join(f"{name}: {text}" for name, text in fields.items())
        super().__init__(
            "config-invalid",
            f"{what} has {noun}. {listed}",
            "Correct the fields named here and try again.",
            fields=fields,
        )


class ShapeError(VadError):
    """An array that does not have the shape that the caller promised."""

    def __init__(self, name: str, *, expected: str, got: tuple[int, ...]) -> None:
        super().__init__(
            "shape-mismatch",
            f"{name} has shape {tuple(got)}, expected {expected}.",
            "Check that features, videos and annotations belong to the same data set version.",
        )
