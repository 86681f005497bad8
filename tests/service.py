"""Real processes for the tests: a gunicorn with the app in it, and a Redis."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import redis
import requests
from redis.backoff import ConstantBackoff
from redis.retry import Retry

ROOT = Path(__file__).parent.parent
_STOP_S = 15


def wait_until(reached: Callable[[], object], what: str, timeout_s: float = 15) -> None:
    """Wait for a condition that nobody announces; raises TimeoutError naming it."""
    ends_at = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"waited {timeout_s} s for {what}")
        time.sleep(0.02)


class Process:
    """A server on a socket that listens before the server starts: whoever connects waits, nobody polls."""

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self.process: subprocess.Popen[bytes]

    def start(self, command: list[str], *, env: dict[str, str], pass_fds: tuple[int, ...] = ()) -> None:
        """Start the program in a process group of its own, with its output in the log."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=log, stderr=log, pass_fds=pass_fds, process_group=0
            )

    @property
    def log(self) -> str:
        """Return everything the process has written."""
        return self.log_path.read_text()

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Stop the process and wait for its end."""
        self.process.send_signal(signal_number)
        self.process.wait(timeout=_STOP_S)

    def group(self) -> set[int]:
        """Return the living processes of the group: this one and what it started."""
        group = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group_id, *_ = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(group_id) == self.process.pid and state != "Z":
                group.add(int(stat.parent.name))
        return group


class Service(Process):
    """The service as the Procfile starts it, on a free port of 127.0.0.1."""

    def __init__(self, directory: Path, env: dict[str, str], *, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(directory / "service.log")
        self.upload_dir = directory / "uploads"
        self._env = {"UPLOAD_DIR": str(self.upload_dir)} | env
        self._arguments = arguments
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{fd}", *self._arguments, "main:app"]
        inherited = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
        self.start(command, env=inherited | self._env, pass_fds=(fd,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        if self.process.poll() is None:
            self.stop()
        assert self.leftovers() == []

    def kill(self) -> None:
        """End every process of the service at once, as a machine that fails does; its port refuses from here on."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self._listener.close()
        self.process.wait(timeout=_STOP_S)
        wait_until(lambda: not self.group(), "the end of every process")

    def revive(self) -> None:
        """Start a killed service again on its port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.__enter__()

    def leftovers(self) -> list[str]:
        """Return what lies in the upload directory."""
        return sorted(os.listdir(self.upload_dir)) if self.upload_dir.exists() else []

    def upload(
        self,
        recording: bytes | BinaryIO,
        *,
        name: str = "speech.wav",
        headers: dict[str, str] | None = None,
        **form: str,
    ) -> requests.Response:
        """Post one recording."""
        return requests.post(
            f"{self.url}/upload", files={"audio": (name, recording)}, data=form, headers=headers, timeout=90
        )

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the app's own log lines."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]


class Redis(Process):
    """A redis-server with nothing on disk; it can be killed, paused and started again on the same port."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "redis.log")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.uri = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def run(self) -> None:
        """Start, or start again, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.start(command, env=dict(os.environ))
        self.client().ping()

    def pause(self) -> None:
        """Let the server hang: connections open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self.process.send_signal(signal.SIGCONT)

    def age(self, seconds: float) -> None:
        """Make every entry of every window older, as if that much time had passed."""
        client = self.client()
        for key in client.scan_iter():
            entries = client.lrange(key, 0, -1)
            client.delete(key)
            client.rpush(key, *(f"{float(entry) - seconds:.6f}" for entry in entries))

    def client(self) -> Any:
        """Return a client that waits for the server to come up."""
        retry = Retry(ConstantBackoff(0.05), 100)
        return redis.Redis(port=self.port, retry=retry, retry_on_error=[redis.ConnectionError])
