"""What is measured and what it talks to: gunicorns of several apps, and nginx in the place of the upstreams."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Self

import requests

from benchmarks import machine
from tests.service import Process

HERE = Path(__file__).parent
SAID = "send me the report right now and stop wasting my time"
POLITE = "Could you please send me the report as soon as you can?"
RECOGNIZE_S, REWRITE_S = 0.3, 0.2
_ECHO_MODULE = "/usr/lib/nginx/modules/ngx_http_echo_module.so"
_LONG_WORDS = 40


def _transcript(text: str) -> str:
    result = [{"alternative": [{"transcript": text, "confidence": 0.98}], "final": True}]
    return json.dumps({"result": []}) + "\n" + json.dumps({"result": result, "result_index": 0})


def _completion() -> str:
    choice = {"index": 0, "message": {"role": "assistant", "content": POLITE}, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]})


class FastUpstreams(Process):
    """An nginx that plays both upstreams: /free and /talkative answer at once, /slow after the usual waits."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "nginx.log")
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def env(self, which: str) -> dict[str, str]:
        """Return what points an app at one of the pairs."""
        url = f"http://127.0.0.1:{self.port}/{which}"
        return {"GOOGLE_SPEECH_URL": f"{url}/recognize", "LLM_BASE_URL": url, "GROQ_API_KEY": "gsk_of_nobody"}

    def __enter__(self) -> Self:
        path = self._directory / "nginx.conf"
        path.write_text(self._configuration())
        self.start(["nginx", "-p", str(self._directory), "-c", str(path)], env=dict(os.environ))
        _wait_for_port(self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configuration(self) -> str:
        return Template((HERE / "nginx.conf").read_text()).substitute(
            echo_module=_ECHO_MODULE,
            directory=self._directory,
            port=self.port,
            transcript=_transcript(SAID),
            long_transcript=_transcript(" ".join(f"word{number}" for number in range(_LONG_WORDS))),
            completion=_completion(),
            recognize_s=RECOGNIZE_S,
            rewrite_s=REWRITE_S,
        )


def _wait_for_port(port: int, timeout_s: float = 10) -> None:
    ends_at = time.monotonic() + timeout_s
    while time.monotonic() < ends_at:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


class App(Process):
    """One app under gunicorn, with the repository's gunicorn.conf.py, on a free port of 127.0.0.1."""

    def __init__(self, directory: Path, app: str, env: dict[str, str]) -> None:
        super().__init__(directory / f"{app.partition(':')[0]}.log")
        self._app = app
        self._env = {"UPLOAD_DIR": str(directory / "uploads")} | env
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.start_s = 0.0

    def __enter__(self) -> Self:
        fd = self._listener.fileno()
        inherited = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{fd}", self._app]
        started = time.perf_counter()
        self.start(command, env=inherited | self._env, pass_fds=(fd,))
        requests.get(f"{self.url}/health", timeout=60).raise_for_status()
        self.start_s = time.perf_counter() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.stop()

    @property
    def pid(self) -> int:
        """Return the process that started the workers."""
        return self.process.pid

    @property
    def workers(self) -> list[int]:
        """Return the worker processes."""
        return machine.tree(self.pid)[1:]

    def check(self, recording: Path) -> None:
        """Upload once; a wrong answer would make every number worthless."""
        with recording.open("rb") as file:
            answer = requests.post(f"{self.url}/upload", files={"audio": file}, timeout=60)
        answer.raise_for_status()
        assert answer.json()["output"] == POLITE, answer.text


def versions() -> dict[str, str]:
    """Return which programs took part."""
    commands = {"wrk": ["wrk", "-v"], "nginx": ["nginx", "-v"], "redis": ["redis-server", "--version"]}
    outputs = {
        name: subprocess.run(command, capture_output=True, text=True, check=False) for name, command in commands.items()
    }
    found = {name: re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr) for name, done in outputs.items()}
    return {"python": sys.version.split()[0]} | {name: match.group() for name, match in found.items() if match}
