"""The real parts the tests share: a running service, its upstreams, a Redis, and sound."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from refiner.audio import Pcm
from refiner.settings import Settings
from tests.service import Redis, Service
from tests.sound import open_files
from tests.upstreams import Upstreams

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no variable of the developer's own configuration reach a test."""
    for name in (field.name.upper() for field in dataclasses.fields(Settings)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _closed_files() -> Iterator[None]:
    """Close the recordings a test opened."""
    yield
    while open_files:
        open_files.pop().close()


@pytest.fixture(scope="session")
def blunt() -> Pcm:
    """The samples of samples/blunt.wav."""
    _, pcm = wavfile.read(ROOT / "samples" / "blunt.wav")
    return np.asarray(pcm, np.int16)


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    """Google and Groq on loopback."""
    with Upstreams() as running:
        yield running


@pytest.fixture
def live_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start real gunicorns with the given environment; after each, its upload directory must be empty."""
    with ExitStack() as running:
        yield lambda **env: running.enter_context(Service(tmp_path, env))


@pytest.fixture
def connected(live_service: Callable[..., Service], upstreams: Upstreams) -> Callable[..., Service]:
    """Start services that use the fakes as their upstreams."""

    def start(**env: str) -> Service:
        return live_service(
            GROQ_API_KEY="gsk-test-key",
            GOOGLE_SPEECH_URL=upstreams.google_url,
            LLM_BASE_URL=upstreams.openai_url,
            **env,
        )

    return start


@pytest.fixture(scope="session")
def _shared_upstreams() -> Iterator[Upstreams]:
    with Upstreams() as running:
        yield running


@pytest.fixture(scope="session")
def _shared_service(_shared_upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {
        "GROQ_API_KEY": "gsk-test-key",
        "GOOGLE_SPEECH_URL": _shared_upstreams.google_url,
        "LLM_BASE_URL": _shared_upstreams.openai_url,
        "RATE_LIMIT": "100000/minute",
        "UPSTREAM_TIMEOUT_S": "1",
    }
    with Service(tmp_path_factory.mktemp("shared"), env) as running:
        yield running


@pytest.fixture
def shared_upstreams(_shared_upstreams: Upstreams) -> Upstreams:
    """The upstreams of the shared service, as good as new."""
    _shared_upstreams.reset()
    return _shared_upstreams


@pytest.fixture
def shared(_shared_service: Service, shared_upstreams: Upstreams) -> Service:
    """A service without a noticeable rate limit and with patience for one second, shared by many tests."""
    return _shared_service


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    """A real Redis of the test's own; missing, it fails in CI and skips elsewhere."""
    require_program("redis-server")
    with Redis(tmp_path) as running:
        yield running


def require_program(name: str) -> None:
    """Skip where a developer lacks a program, fail where CI does."""
    if shutil.which(name) is None:
        message = f"{name} is not installed (Debian: apt install {name})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
