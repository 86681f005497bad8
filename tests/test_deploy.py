"""What runs the service elsewhere: the Procfile, gunicorn's configuration, Render's blueprint and the pins."""

import dataclasses
import os
import re
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from refiner.audio import Pcm
from refiner.settings import Settings
from tests.service import ROOT, Process, wait_until
from tests.sound import wav
from tests.upstreams import POLITE, Upstreams

VARIABLES = {field.name.upper() for field in dataclasses.fields(Settings)}


class Honcho(Process):
    """Every process of the Procfile, as honcho starts them."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        super().__init__(directory / "honcho.log")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inherited = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
        command = [sys.executable, "-m", "honcho", "--env", os.devnull, "start"]
        self.start(command, env=inherited | env | {"PATH": path, "PORT": str(self.port)})

    def listens(self) -> bool:
        """Tell whether anything answers on PORT."""
        assert self.process.poll() is None, self.log
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def honcho(tmp_path: Path, upstreams: Upstreams) -> Iterator[Honcho]:
    """The Procfile's processes, with the fakes as their upstreams."""
    env = {
        "GROQ_API_KEY": "gsk-test-key",
        "GOOGLE_SPEECH_URL": upstreams.google_url,
        "LLM_BASE_URL": upstreams.openai_url,
        "UPLOAD_DIR": str(tmp_path / "uploads"),
    }
    running = Honcho(tmp_path, env)
    yield running
    if running.process.poll() is None:
        running.stop()


def test_the_procfile_runs_under_honcho(honcho: Honcho, blunt: Pcm) -> None:
    """The web process listens on PORT, answers, and ends in peace when it is told to."""
    wait_until(honcho.listens, "the web process", timeout_s=30)
    answer = requests.post(f"{honcho.url}/upload", files={"audio": ("speech.wav", wav(blunt))}, timeout=30)
    assert (answer.status_code, answer.json()["output"]) == (200, POLITE)
    honcho.stop(signal.SIGTERM)
    assert "Handling signal: term" in honcho.log
    assert not re.search("Traceback|SIGKILL", honcho.log)


def test_the_procfile_has_one_web_process_and_says_nothing_twice() -> None:
    """Everything that gunicorn is told lives in gunicorn.conf.py, so that every platform runs the same."""
    assert (ROOT / "Procfile").read_text().splitlines() == ["web: gunicorn main:app"]
    assert web_service()["startCommand"] == "gunicorn main:app"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Read gunicorn.conf.py under the given variables."""

    def read(**env: str) -> dict[str, Any]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    return read


def test_counters_in_memory_mean_one_worker(configured: Callable[..., dict[str, Any]]) -> None:
    """Without Redis a second process would allow everything twice."""
    assert configured(WEB_CONCURRENCY="4")["workers"] == 1


def test_with_redis_there_are_as_many_workers_as_asked_for(configured: Callable[..., dict[str, Any]]) -> None:
    """WEB_CONCURRENCY is honoured where the count is shared, and without it there is one worker for each core."""
    redis_uri = "redis://127.0.0.1:6379/0"
    assert configured(REDIS_URI=redis_uri)["workers"] == len(os.sched_getaffinity(0))
    assert configured(REDIS_URI=redis_uri, WEB_CONCURRENCY="4")["workers"] == 4


def test_gunicorn_is_told_what_the_settings_say(configured: Callable[..., dict[str, Any]]) -> None:
    """Port, threads and the time to finish follow from the variables; no second way in is opened."""
    told = configured(PORT="8123", THREADS="12", REQUEST_TIMEOUT_S="30")
    assert told["bind"].endswith(":8123")
    assert (told["worker_class"], told["threads"]) == ("refiner.worker.Worker", 12)
    assert told["graceful_timeout"] > 30
    assert told["control_socket_disable"] is True


def blueprint() -> dict[str, Any]:
    """Return render.yaml."""
    content = yaml.safe_load((ROOT / "render.yaml").read_text())
    assert isinstance(content, dict)
    return content


def services_of(kind: str) -> list[dict[str, Any]]:
    """Return the blueprint's services of one type."""
    return [service for service in blueprint()["services"] if service["type"] == kind]


def web_service() -> dict[str, Any]:
    """Return the blueprint's web service."""
    (service,) = services_of("web")
    return service


# Fields of https://render.com/docs/blueprint-spec, as of November 2026, without those of Docker and of static sites.
ROOT_FIELDS = {"services", "databases", "envVarGroups", "projects", "ungrouped", "previews"}
WEB_FIELDS = {
    "type", "name", "runtime", "plan", "previews", "buildCommand", "startCommand", "preDeployCommand", "region", "repo",
    "branch", "autoDeployTrigger", "domains", "healthCheckPath", "maxShutdownDelaySeconds", "numInstances", "scaling",
    "buildFilter", "rootDir", "disk", "envVars",
}  # fmt: skip
KEYVALUE_FIELDS = {"type", "name", "ipAllowList", "region", "plan", "previewPlan", "maxmemoryPolicy"}
RUNTIMES = {"node", "python", "elixir", "go", "ruby", "rust", "docker", "image", "static"}
WEB_PLANS = {"free", "starter", "standard", "pro", "pro plus", "pro max", "pro ultra"}
KEYVALUE_PLANS = {"free", "starter", "standard", "pro", "pro plus"}
EVICTIONS = {"allkeys-lru", "volatile-lru", "allkeys-random", "volatile-random", "volatile-ttl", "noeviction"}
VALUE_SOURCES = {"value", "sync", "generateValue", "fromService", "fromDatabase"}
SCALING_FIELDS = {"minInstances", "maxInstances", "targetMemoryPercent", "targetCPUPercent"}


def test_the_blueprint_has_documented_fields_only() -> None:
    """Render refuses a file with any other field."""
    assert blueprint().keys() <= ROOT_FIELDS
    assert web_service().keys() <= WEB_FIELDS
    assert {service["type"] for service in blueprint()["services"]} == {"web", "keyvalue"}
    assert all(service.keys() <= KEYVALUE_FIELDS for service in services_of("keyvalue"))
    assert web_service().get("scaling", {}).keys() <= SCALING_FIELDS
    names = [service["name"] for service in blueprint()["services"]]
    assert len(set(names)) == len(names)


def test_the_blueprint_has_every_required_field() -> None:
    """A native web service needs runtime and commands, a Key Value instance needs its list of addresses."""
    web = web_service()
    assert {"name", "runtime", "buildCommand", "startCommand"} <= web.keys()
    assert (web["runtime"] in RUNTIMES, web["plan"] in WEB_PLANS) == (True, True)
    assert web["buildCommand"] == "pip install -r requirements.txt"
    (store,) = services_of("keyvalue")
    assert store["ipAllowList"] == []
    assert (store["plan"] in KEYVALUE_PLANS, store["maxmemoryPolicy"] in EVICTIONS) == (True, True)


def test_the_blueprint_scales() -> None:
    """There is a number of instances, or a range with a target, and the count they share."""
    web = web_service()
    scaling = web.get("scaling", {"minInstances": web.get("numInstances"), "maxInstances": web.get("numInstances")})
    assert 1 <= scaling["minInstances"] <= scaling["maxInstances"] <= 100
    assert ("scaling" in web) == bool({"targetCPUPercent", "targetMemoryPercent"} & scaling.keys())
    assert "disk" not in web  # a service with a disk cannot be scaled
    assert "REDIS_URI" in {variable["key"] for variable in web["envVars"]}


def test_render_waits_for_what_is_in_flight(configured: Callable[..., dict[str, Any]]) -> None:
    """Its own patience, 30 s unless told otherwise and 300 at most, is no shorter than gunicorn's."""
    assert configured()["graceful_timeout"] <= web_service().get("maxShutdownDelaySeconds", 30) <= 300


def test_every_variable_of_the_blueprint_is_one_the_service_reads() -> None:
    """Each has one source, no secret is written down, and what is written down is accepted."""
    variables = web_service()["envVars"]
    assert {variable["key"] for variable in variables} <= VARIABLES | {"PYTHON_VERSION"}
    assert all(len(VALUE_SOURCES & variable.keys()) == 1 for variable in variables)
    assert all(variable.keys() <= VALUE_SOURCES | {"key"} for variable in variables)
    secret = {field.name.upper() for field in dataclasses.fields(Settings) if not field.repr}
    assert not any("value" in variable for variable in variables if variable["key"] in secret)
    Settings.from_environ({variable["key"]: str(variable["value"]) for variable in variables if "value" in variable})


def test_the_blueprints_references_lead_somewhere() -> None:
    """What one service takes from another exists there."""
    references = [variable["fromService"] for variable in web_service()["envVars"] if "fromService" in variable]
    stores = {(service["type"], service["name"]) for service in blueprint()["services"]}
    assert references
    assert all(reference.keys() == {"type", "name", "property"} for reference in references)
    assert {(reference["type"], reference["name"]) for reference in references} <= stores
    assert {reference["property"] for reference in references} == {"connectionString"}


def test_the_health_check_is_served(honcho: Honcho) -> None:
    """The path that Render asks answers well within its five seconds."""
    wait_until(honcho.listens, "the web process", timeout_s=30)
    requests.get(honcho.url, timeout=30)
    answer = requests.get(honcho.url + web_service()["healthCheckPath"], timeout=5)
    assert (answer.status_code, answer.elapsed.total_seconds() < 1) == (200, True)


CARD = {
    "flask", "flask-cors", "flask-limiter", "redis", "speechrecognition", "scipy", "numpy", "soundfile", "requests",
    "gunicorn",
}  # fmt: skip


def test_every_requirement_is_pinned_and_the_cards_packages_are_there() -> None:
    """One exact version each, so that what is deployed is what was tested."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9-]+(\[[a-z,]+\])?==\d[\w.]*", pin) for pin in pins)
    names = [re.split(r"[=\[]", pin)[0].lower() for pin in pins]
    assert set(names) >= CARD
    assert len(set(names)) == len(names)


def test_the_python_version_is_one_with_wheels() -> None:
    """Render's default Python has no wheels of PocketSphinx; the file picks one that has."""
    version = (ROOT / ".python-version").read_text().strip()
    assert re.fullmatch(r"3\.(11|12|13)(\.\d+)?", version)
