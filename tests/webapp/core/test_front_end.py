"""What the content security policy and the static storage demand of every template and file."""

import re
import shutil
from pathlib import Path

import pytest

from webapp.core.storage import StaticStorage

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
STATIC = ROOT / "webapp" / "static"
ICONS = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))


def without_comments(text: str) -> str:
    return re.sub(r"{% comment %}.*?{% endcomment %}|{#.*?#}", "", text, flags=re.S)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_template_has_no_inline_script_or_style(path):
    text = without_comments(path.read_text())

    assert not re.search(r"<style\b", text)
    assert not re.search(r"\sstyle\s*=", text)
    assert not re.search(r"\son\w+\s*=\s*[\"']", text)
    assert not re.search(r"\bhx-on", text)
    assert all("src=" in tag for tag in re.findall(r"<script\b[^>]*>", text))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_template_uses_icons_of_the_sprite(path):
    text = without_comments(path.read_text())
    named = set(re.findall(r'{% icon "([\w-]+)"', text))
    named |= set(re.findall(r'rail_item "[\w:]+" "[^"]+" "([\w-]+)"', text))
    named |= set(re.findall(r'icon_name="([\w-]+)"', text))

    assert named <= ICONS


def test_every_state_has_an_icon_and_a_colour():
    from webapp.core.templatetags.vadlab import STATES

    sheet = (STATIC / "css" / "vadlab.css").read_text()

    assert {name for name, _ in STATES.values() if name} <= ICONS
    assert [s for s in STATES if f'.badge[data-state="{s}"]' not in sheet] == []


def test_no_static_file_names_a_source_map_or_another_host():
    """A source map that is not shipped breaks the manifest storage; pages load nothing foreign."""
    for path in STATIC.rglob("*.[cj]ss"):
        assert "sourceMappingURL" not in path.read_text(), path
    for path in STATIC.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", path.read_text()), path


@pytest.mark.parametrize(
    "folder", sorted(p for p in (STATIC / "vendor").iterdir() if p.is_dir()), ids=lambda p: p.name
)
def test_a_vendored_library_has_its_version_and_licence(folder):
    assert re.search(r"-\d+\.\d+\.\d+$", folder.name)
    assert "ermission" in (folder / "LICENSE").read_text()


def test_modules_import_each_other_under_their_hashed_names(tmp_path):
    shutil.copytree(STATIC / "js", tmp_path / "js")
    storage = StaticStorage(location=str(tmp_path), base_url="/static/")
    names = [f"js/{path.name}" for path in (STATIC / "js").iterdir()]

    done = list(storage.post_process({name: (storage, name) for name in names}))

    assert [result for _, _, result in done if isinstance(result, Exception)] == []
    hashed = {Path(storage.stored_name(name)).name for name in names}
    for name in names:
        text = (tmp_path / storage.stored_name(name)).read_text()
        assert set(re.findall(r"[\"']\./(.+?)[\"']", text)) <= hashed, name
    assert "chart-theme." in (tmp_path / storage.stored_name("js/charts.js")).read_text()


def test_every_module_of_the_viewer_is_named_beforehand():
    scripts = ROOT / "templates" / "evaluations" / "viewer_scripts.html"
    named = set(re.findall(r"js/(viewer[\w-]*\.js)", scripts.read_text()))

    assert named == {path.name for path in (STATIC / "js").glob("viewer*.js")}
