"""The database as a file, consistent, and back: SQLite by itself, PostgreSQL by its tools."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from django.db import connection, connections

from vad.data.tensorfile import sync_folder
from vad.errors import VadError

SQLITE, POSTGRESQL = "sqlite", "postgresql"
NAMES = {SQLITE: "database.sqlite3", POSTGRESQL: "database.dump"}
TOOL_S = 6 * 3600  # that pg_dump or pg_restore may take


def engine() -> str:
    return connection.vendor


def write(target: Path) -> None:
    """Write all committed rows as of one moment; others go on reading and writing.

    Raises:
        VadError: `backup-impossible`, with what the database or its tool said.
    """
    if engine() == SQLITE:
        source = _sqlite_file()
        try:
            with closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as opened:
                opened.execute("VACUUM INTO ?", [str(target)])
        except sqlite3.Error as exc:
            raise _impossible(f"SQLite could not copy {source}: {exc}.") from exc
        check(target, SQLITE)
    elif engine() == POSTGRESQL:
        options = ["--format=custom", "--no-owner", "--no-privileges", "--file", str(target)]
        _tool("pg_dump", [*options, "--dbname", _database()["NAME"]])
        check(target, POSTGRESQL)
    else:
        raise _impossible(f"A database of the kind {engine()} cannot be copied.")


def check(file: Path, kind: str) -> None:
    """Read a copy as a restore would, without writing anything.

    Raises:
        VadError: `backup-invalid`; `backup-impossible` without the tool.
    """
    if kind == SQLITE:
        try:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
                (said,) = copy.execute("PRAGMA integrity_check").fetchone()
        except sqlite3.Error as exc:
            said = str(exc)
        if said != "ok":
            raise VadError(
                "backup-invalid", f"The copy of the database in {file} is damaged: {said}.",
                "Use an earlier backup.",
            )  # fmt: skip
    else:
        _tool("pg_restore", ["--list", str(file)])


def read(file: Path) -> None:
    """Put a copy in the place of the database. All of it or, on an error, nothing.

    Raises:
        VadError: `backup-impossible`, with what the database or its tool said.
    """
    if engine() == SQLITE:
        target = _sqlite_file()
        connections.close_all()
        beside = target.with_name(f".{target.name}.restored")
        shutil.copyfile(file, beside)
        for end in ("-wal", "-shm"):  # of the database that goes
            target.with_name(f"{target.name}{end}").unlink(missing_ok=True)
        beside.replace(target)
        sync_folder(target.parent)
    else:
        connections.close_all()
        options = ["--clean", "--if-exists", "--no-owner", "--no-privileges"]
        options += ["--single-transaction", "--exit-on-error"]
        _tool("pg_restore", [*options, "--dbname", _database()["NAME"], str(file)])
    connections.close_all()


def _sqlite_file() -> Path:
    name = str(_database()["NAME"])
    if name == ":memory:" or name.startswith("file:"):
        raise _impossible("The database is in memory and has no file.")
    return Path(name).resolve()


def _database() -> Mapping[str, Any]:
    return connection.settings_dict


def _tool(name: str, options: Sequence[str]) -> None:
    """Run one of PostgreSQL's programs against the database of the settings.

    The password goes by the environment: a command line can be read by everybody on the machine.
    """
    program = shutil.which(name)
    if program is None:
        raise _impossible(
            f"{name} is not installed, and PostgreSQL is copied by it.",
            "Install PostgreSQL's client programs of the server's version or a newer one "
            "(on Debian: postgresql-client), then give the command again.",
        )
    database = _database()
    env = {
        "PATH": os.environ.get("PATH", ""),
        "PGHOST": str(database.get("HOST") or ""),
        "PGPORT": str(database.get("PORT") or ""),
        "PGUSER": str(database.get("USER") or ""),
        "PGPASSWORD": str(database.get("PASSWORD") or ""),
        **{
            f"PG{key.upper()}": str(value)
            for key, value in database.get("OPTIONS", {}).items()
            if key in ("sslmode", "sslrootcert", "sslcert", "sslkey")
        },
    }
    try:
        done = subprocess.run(
            [program, "--no-password", *options],
            env={key: value for key, value in env.items() if value},
            capture_output=True, text=True, timeout=TOOL_S, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _impossible(f"{name} took longer than {TOOL_S // 3600} hours.") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[-500:]
        raise _impossible(f"{name} ended with code {done.returncode}: {said}")


def _impossible(message: str, hint: str = "Correct that and give the command again.") -> VadError:
    return VadError("backup-impossible", message, hint)
