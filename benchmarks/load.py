"""Load from programs written in C, so that the clients cost little: wrk, and curl for large uploads."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.servers import App

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw."""

    requests_per_s: float
    median_ms: float
    p99_ms: float
    cpu_ms: float
    """Processor milliseconds of the app's processes for each request."""


def put(app: App, recording: Path, *, clients: int, seconds: float) -> Load:
    """Upload a recording again and again over so many connections; raises when a request fails."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(HERE / "upload.lua")]
    cpu_before_s = machine.cpu_s(app.pid)
    env = os.environ | {"RECORDING": str(recording)}
    done = subprocess.run(
        [*command, app.url], env=env, capture_output=True, text=True, check=True, timeout=seconds + 60
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    if seen["refused"] or seen["broken"]:
        raise RuntimeError(f"{seen['refused']} requests were refused and {seen['broken']} broke off")
    cpu_ms = (machine.cpu_s(app.pid) - cpu_before_s) * 1000 / seen["requests"]
    return Load(seen["requests"] / seen["seconds"], seen["median_ms"], seen["p99_ms"], cpu_ms)


def upload_at_once(app: App, recording: Path, *, clients: int, timeout_s: float = 180) -> None:
    """Upload a recording from so many clients at the same moment; raises when a request fails."""
    answer = ["-o", os.devnull, "-w", "%{http_code}", "--max-time", str(timeout_s)]
    command = ["curl", "-sS", *answer, "-F", f"audio=@{recording}", f"{app.url}/upload"]
    clients_running = [
        subprocess.Popen([*command, "-H", f"X-Forwarded-For: 10.0.0.{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(clients)
    ]
    statuses = [client.communicate()[0] for client in clients_running]
    if set(statuses) != {"200"}:
        raise RuntimeError(f"uploads were answered {sorted(statuses)}")
