from datetime import timedelta

import pytest
from django.core.paginator import Paginator
from django.template import Context, Template
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.utils import timezone

from vad.configs import CONFIGS
from vad.errors import VadError
from webapp.core.configforms import as_text, form_groups
from webapp.core.templatetags import vadlab as tags


def render(source: str, **context) -> str:
    return Template("{% load vadlab %}" + source).render(Context(context))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\u2013"),
        (0.34, "340 ms"),
        (12.44, "12.4 s"),
        (59.97, "1 min 0 s"),
        (185, "3 min 5 s"),
        (8040, "2 h 14 min"),
        (3 * 86_400 + 7200, "3 d 2 h"),
        (timedelta(minutes=2), "2 min 0 s"),
        (float("nan"), "\u2013"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds, text):
    assert tags.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "\u2013"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4.2e9, "4.2 GB")],
)
def test_a_size_has_its_unit(size, text):
    assert tags.bytes_(size) == text


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.81234, 3, "0.812"),
        (None, 3, "\u2013"),
        (12345, 0, "12,345"),
        (float("inf"), 1, "\u2013"),
        (-0.5, 2, "\u22120.50"),
    ],
)
def test_a_number_keeps_its_decimals(value, decimals, text):
    assert tags.number(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"),
        (2.5e-5, "2.5e-5"),
        (0.5, "0.5"),
        ((120, 160), "120 \u00d7 160"),
        (True, "yes"),
    ],
)
def test_a_configuration_value_is_written_short(value, text):
    assert tags.compact(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "just now"),
        (59, "59 s ago"),
        (200, "3 min ago"),
        (7300, "2 h ago"),
        (-90, "in 1 min"),
        (-14 * 86_400 + 60, "in 14 d"),
    ],
)
def test_a_time_is_told_relative_to_now(seconds, text):
    assert tags.ago_text(seconds) == text


def test_the_exact_time_is_in_the_tooltip():
    when = timezone.now() - timedelta(hours=2)

    html = tags.ago(when)

    assert when.strftime('title="%Y-%m-%d %H:%M:%S UTC"') in html
    assert ">2 h ago<" in html


def test_a_long_id_is_cut_in_the_middle_and_copied_whole():
    html = render("{% short_id value %}", value="0123456789abcdef")

    assert 'data-copy="0123456789abcdef"' in html
    assert ">0123\u2026cdef<" in html


def test_a_state_is_an_icon_and_a_word():
    html = render('{% state_badge "failed" %}')

    assert "#cross" in html
    assert ">failed<" in html


def test_names_are_escaped():
    html = render(
        "{% state_badge state %}{% short_id state %}{% icon state state %}", state='"><script>'
    )

    assert "<script>" not in html


def test_json_in_an_attribute_cannot_leave_it():
    html = render('<i data-x="{{ value|json_attr }}"></i>', value={"a": '"><script>'})

    assert "<script>" not in html
    assert html.count('"') == 2


def test_progress_is_not_done_before_it_is_done():
    assert ">99%<" in tags.progress(99.7)
    assert "\u2013" in tags.progress(None)


@pytest.mark.parametrize(
    ("query", "href", "direction"),
    [
        ("", "?sort=-auc", ""),
        ("sort=-auc", "?sort=auc", "descending"),
        ("sort=auc&page=3", "?sort=-auc", "ascending"),
    ],
)
def test_a_header_sorts_and_turns_around(query, href, direction):
    request = RequestFactory().get(f"/?{query}")

    html = render('{% sort_header "AUC" "auc" num=True %}', request=request)

    assert f'href="{href}"' in html
    assert (f'aria-sort="{direction}"' in html) == bool(direction)


def test_pages_keep_the_other_filters():
    request = RequestFactory().get("/?q=urdmu&page=2")
    page = Paginator(range(120), 50).page(2)

    html = render_to_string("partials/pagination.html", {"page": page}, request=request)

    assert "51\u2013100 of 120" in html
    assert "q=urdmu" in html
    assert "page=3" in html


def test_an_error_shows_every_problem_and_its_code():
    error = VadError("dataset-invalid", "Two problems.", "Correct them.", problems=["one", "two"])

    html = render_to_string("partials/error.html", {"error": error})

    assert all(
        text in html for text in ("Two problems.", "Correct them.", "dataset-invalid", "two")
    )


@pytest.mark.parametrize("kind", ["extract", "train-urdmu", "evaluate"])
def test_a_form_left_as_it_is_gives_the_default_configuration(kind):
    config = CONFIGS[kind]
    groups = form_groups(config.json_schema(), {}, {})

    fields = [f for group in groups for f in group.fields]
    sent = {f.name: f.default if f.choices else f.value for f in fields}

    assert config.from_strings(sent) == config()
    assert config.from_strings({f.name: f.default for f in fields}) == config()


def test_a_problem_stands_at_its_field_and_opens_the_folded_part():
    schema = CONFIGS["train-urdmu"].json_schema()
    errors = {"kl_weight": "-1.0 is below the least allowed, 0"}

    html = render(
        "{% config_form schema values errors %}",
        schema=schema,
        values={"kl_weight": "-1"},
        errors=errors,
    )

    assert "is below the least allowed" in html
    assert '<details class="advanced" open>' in html
    assert 'name="kl_weight" value="-1"' in html


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "0.0001"), (3.0, "3"), (True, "yes"), ([120, 160], "120 160"), (None, "")],
)
def test_a_value_is_written_as_the_form_reads_it(value, text):
    assert as_text(value) == text


def test_a_field_without_a_choice_is_not_asked_for():
    names = [
        f.name for g in form_groups(CONFIGS["register"].json_schema(), {}, {}) for f in g.fields
    ]

    assert "device" not in names
    assert "root" in names


@pytest.mark.parametrize("value", [1234567.0, 1e-4, 2.0, 0.1 + 0.2, 1e300])
def test_a_number_in_a_form_keeps_all_its_digits(value):
    assert float(as_text(value)) == value
