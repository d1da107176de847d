"""docker-compose.yml says what docs/ say of operations and hosts, and what a server needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from webapp.settings import base

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("migrate", "web", "worker-gpu", "worker-cpu", "beat")
LASTING = ("postgres", "redis", "web", "worker-gpu", "worker-cpu", "beat")


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)(s|m)", text)
    assert found, text
    return int(found[1]) * {"s": 1, "m": 60}[found[2]]


def environment(name: str) -> dict[str, object]:
    return SERVICES[name]["environment"]


def test_all_parts_of_a_server_are_there():
    assert set(SERVICES) == {"postgres", "redis", *OURS}


@pytest.mark.parametrize("name", LASTING)
def test_a_service_is_looked_after(name):
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"]
    assert seconds(check["timeout"]) <= seconds(check["interval"])
    assert check["retries"] >= 3
    assert seconds(service["stop_grace_period"]) >= 10


@pytest.mark.parametrize("name", ["worker-gpu", "worker-cpu"])
def test_a_worker_is_given_the_time_to_write_its_checkpoints(name):
    service = SERVICES[name]
    default = re.search(r":-(\d+)", environment(name)["VADLAB_GRACE_S"])
    assert default

    assert int(default[1]) == base.RUN_GRACE_S
    assert seconds(service["stop_grace_period"]) >= 2 * int(default[1])
    assert service["hostname"] == name  # a worker's name is its host's
    assert "worker_health" in service["healthcheck"]["test"]


def test_the_web_is_healthy_when_it_is_ready_whatever_hosts_are_named():
    assert "http://127.0.0.1:8000/readyz" in SERVICES["web"]["healthcheck"]["test"]
    assert environment("web")["VADLAB_HOSTS"].endswith(",127.0.0.1")


def test_each_worker_listens_to_the_queues_whose_slots_it_has():
    assert "-Q gpu " in SERVICES["worker-gpu"]["command"]
    assert environment("worker-gpu")["VADLAB_CPU_SLOTS"] == 0
    assert "-Q cpu " in SERVICES["worker-cpu"]["command"]
    assert environment("worker-cpu")["VADLAB_GPU_SLOTS"] == 0


def test_the_gpus_are_reserved_for_the_worker_that_uses_them():
    (devices,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]

    assert devices == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert not any("deploy" in SERVICES[name] for name in OURS if name != "worker-gpu")


def test_everything_of_ours_has_the_same_settings_and_folders():
    for name in OURS:
        service = SERVICES[name]
        assert service["image"] == "vadlab"
        assert "data:/data" in service["volumes"]
        for variable in (
            "DATABASE_URL",
            "CELERY_BROKER_URL",
            "VADLAB_DATA_DIR",
            "VADLAB_SECRET_KEY",
        ):
            assert environment(name)[variable] == environment("web")[variable]
    assert set(COMPOSE["volumes"]) == {"data", "postgres"}
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]


def test_nothing_starts_before_what_it_needs():
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in OURS[1:]:
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }


def test_what_must_be_secret_has_no_default():
    text = (ROOT / "docker-compose.yml").read_text()

    assert set(re.findall(r"\$\{(\w+):\?", text)) == {"POSTGRES_PASSWORD", "VADLAB_SECRET_KEY"}
    assert not any("ports" in SERVICES[name] for name in ("postgres", "redis"))


def test_every_variable_that_it_sets_is_one_that_is_explained():
    explained = (ROOT / "docs/settings.md").read_text()
    ours = {v for name in OURS for v in environment(name)}

    assert sorted(v for v in ours if f"`{v}`" not in explained) == []


def test_its_commands_are_those_of_the_documentation():
    operations, hosts = ((ROOT / f"docs/{name}.md").read_text() for name in ("operations", "hosts"))
    plain = operations.replace("127.0.0.1:8000", "0.0.0.0:8000")

    assert SERVICES["web"]["command"] in plain
    assert SERVICES["beat"]["command"].replace(" --schedule /tmp/beat", "") in plain
    for name in ("worker-gpu", "worker-cpu"):
        assert SERVICES[name]["command"] in hosts
    for part in re.findall(r"python manage\.py \w+[ \w-]*\w", SERVICES["migrate"]["command"]):
        assert part in operations
