"""The documentation names all that there is, and nothing that is not there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.urls import URLPattern, URLResolver, get_resolver

from vad import cli
from vad.client import cli as client_cli
from vad.configs import CONFIGS
from vad.errors import CATALOGUE
from webapp.core.errors import STATUS

ROOT = Path(settings.BASE_DIR)
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
DJANGOS_OWN = {
    "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color",
    "--force-color", "--skip-checks", "--help",
}  # fmt: skip


@cache
def text(path: Path | str) -> str:
    return (ROOT / path).read_text("utf-8")


def names(path: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([^`\n]+)`", text(path)))


def words(path: str) -> set[str]:
    return {word for name in names(path) for word in re.split(r"[\s,=]+", name)}


# --- settings -----------------------------------------------------------------------------------


def test_every_variable_that_the_server_reads_is_explained_and_no_other():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "webapp/settings").glob("*.py"))
    read = set(re.findall(r'"((?:VADLAB|DATABASE|CELERY|CUDA)_[A-Z0-9_]+)"', source))
    rows = re.findall(r"^\| (`[^|]+) \|", text("docs/settings.md"), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)}

    assert sorted(read - explained) == []
    assert sorted(explained - read) == []


# --- errors -------------------------------------------------------------------------------------


def test_the_table_of_errors_is_the_catalogue():
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (\d+) \| (.+?) \| (.+) \|$", text("docs/errors.md"), re.MULTILINE
    )
    expected = [(code, str(STATUS.get(code, 422)), says) for code, says in CATALOGUE.items()]

    assert [row[:3] for row in rows] == sorted(expected)
    assert [row[0] for row in rows if not row[3].strip()] == []


# --- commands -----------------------------------------------------------------------------------


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """As `subcommands`, with those below them in place of a command that has some."""
    found = {}
    for word, command in subcommands(parser).items():
        more = subcommands(command)
        found |= {f"{word} {name}": one for name, one in more.items()} or {word: command}
    return found


def leaves(*path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command of `python -m vad` that has no commands below it."""
    parser = cli._parser([*path, ""])
    for word in path:
        parser = subcommands(parser)[word]
    below = subcommands(parser)
    if not below:
        yield " ".join(path), parser
    for word in below:
        yield from leaves(*path, word)


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The longest spelling of each option but those of a configuration's fields."""
    return {
        max(action.option_strings, key=len)
        for action in parser._actions
        if action.option_strings
        and action.help != argparse.SUPPRESS
        and not action.dest.startswith("config_")
    } - DJANGOS_OWN


def ours() -> list[str]:
    return [name for name, app in get_commands().items() if str(app).startswith("webapp")]


def section(command: str) -> str:
    """The row of a command in docs/cli.md."""
    found = re.search(rf"^\| `{re.escape(command)}[ `].*$", text("docs/cli.md"), re.MULTILINE)
    assert found, f"docs/cli.md has no row for {command}"
    return found[0]


def missing(row: str, wanted: set[str]) -> list[str]:
    return sorted(o for o in wanted if not re.search(rf"(?<![\w-]){re.escape(o)}(?![\w-])", row))


def test_every_command_of_the_library_has_a_row_with_its_options_and_groups():
    every_run = {"--output", "--json", "--watch-parent", "--config"}
    for command, parser in leaves():
        row = section(f"python -m vad {command}")
        assert missing(row, options(parser) - every_run) == [], command
        groups = {str(group.title) for group in parser._action_groups[2:]} - {"Device"}
        assert sorted(g for g in groups if g not in row) == [], command
    assert missing(text("docs/cli.md"), every_run) == []

    published = subcommands(cli._parser(["train", "--dataset"]))["train"]
    assert missing(section("python -m vad train --dataset"), options(published) - every_run) == []


def test_every_command_of_the_client_and_of_the_server_has_a_row_with_its_options():
    for command, parser in below(client_cli._parser()).items():
        assert missing(section(f"vadlab {command}"), options(parser)) == [], command
    everywhere = {"--user", "--project", "--wait"}
    for command in ours():
        parser = load_command_class(get_commands()[command], command).create_parser("m", command)
        found = missing(section(f"manage.py {command}"), options(parser) - everywhere)
        assert found == [], command
    assert missing(text("docs/cli.md"), everywhere) == []


def shell_lines() -> list[tuple[str, str]]:
    """(page, line) of each line for a shell, comments and continuations taken off."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:sh)?\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL):
            joined = re.sub(r"\\\n\s*", " ", block)
            found += [(page.name, line.split(" #")[0].strip()) for line in joined.splitlines()]
    return found


def test_a_command_that_a_page_says_to_type_exists():
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    library = {command for command, _ in leaves()} | {"train --dataset"}
    managed = set(get_commands())
    client = set(below(client_cli._parser()))
    wrong, seen = [], 0
    for page, line in shell_lines():
        line = line.removeprefix("export ")
        for pattern, known in (
            (r"^make ([a-z]+)", targets),
            (r"manage\.py (\w+)", managed),
            (r"^vadlab ((?:sweep )?\w+)", client),
            (r"-m vad ((?:(?:dataset|train|checkpoint) )?[\w-]+)", library),
        ):
            for name in re.findall(pattern, line):
                seen += 1
                if name not in known:
                    wrong.append(f"{page}: {name!r} in {line!r}")
    assert wrong == []
    assert seen > 20


def test_every_kind_of_run_is_named():
    assert sorted(kind for kind in CONFIGS if kind not in names("docs/quickstart.md")) == []


# --- addresses ----------------------------------------------------------------------------------


def routes(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for found in resolver.url_patterns:
        path = before + str(found.pattern)
        if isinstance(found, URLPattern):
            yield path
        else:
            yield from routes(found, path)


def addresses(path: str) -> set[str]:
    """Addresses in the first column of a page's tables; `…/x/` goes on from the one before it."""
    found: set[str] = set()
    for row in re.findall(r"^\| (`[^|]+?) \|", text(path), re.MULTILINE):
        base = ""
        for name in re.findall(r"`([^`]+)`", row):
            name = name.split("?")[0].strip("/")
            if not name.startswith("…"):
                base = name
                found.add(base)
                continue
            parts = base.split("/")
            ends = name.removeprefix("…").strip("/")
            found |= {"/".join([*parts[:n], ends]) for n in range(1, len(parts) + 1)}
    return found


def undocumented(paths: list[str], said: set[str]) -> list[str]:
    left = []
    for path in paths:
        pattern = re.sub(r"<[^>]+>", "[^/]+", path.strip("/"))
        if not any(re.fullmatch(pattern, name) for name in said):
            left.append(path)
    return left


def test_every_address_is_in_pages_or_in_the_api():
    every = list(routes(get_resolver()))
    api = [path.removeprefix("api/v1/") for path in every if path.startswith("api/v1/")]
    pages = [path for path in every if path and not path.startswith("api/")]

    assert undocumented(api, addresses("docs/api.md")) == []
    assert undocumented(pages, addresses("docs/pages.md")) == []


def test_every_address_of_mlflow_is_named_there():
    paths = [p for p in routes(get_resolver()) if p.startswith("api/2.0/mlflow/") and "<" not in p]
    said = words("docs/interop.md") | set(re.findall(r"[a-z-]+", text("docs/interop.md")))
    unnamed = [p for p in paths if p.split("/")[-1] not in said]

    assert len(paths) > 15
    assert unnamed == []


# --- links and files ----------------------------------------------------------------------------


@cache
def anchors(path: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    plain = re.sub(r"^```.*?^```", "", text(path), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_table_of_contents():
    linked = set(re.findall(r"\]\((\w+\.md)[#)]", text("docs/README.md")))

    assert sorted(page.name for page in DOCS if page.name != "README.md") == sorted(linked)


def test_a_source_file_that_a_page_names_is_there():
    below = [ROOT / part for part in ("", "vad", "webapp", "webapp/static", "templates", "tests")]
    gone = []
    for page in PAGES:
        for name in re.findall(r"`([\w/.-]+/[\w.-]+\.(?:py|js|css|html|yml))`", text(page)):
            if not any((folder / name).exists() for folder in below):
                gone.append(f"{page.name}: {name}")
    assert gone == []
