"""How gunicorn runs the app; GUNICORN_CMD_ARGS and the command line win over what is said here."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from refiner.settings import Settings


class OneLineLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's log without its access lines: the app writes its own, without addresses."""

    def access(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""


_settings = Settings.from_environ()

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency
worker_class = "refiner.worker.Worker"
threads = _settings.threads
logger_class = OneLineLogger
loglevel = _settings.log_level
# What is in flight when the service is told to stop may finish.
graceful_timeout = round(_settings.request_timeout_s) + 5
# Proxies keep their connections longer than gunicorn's own 2 s.
keepalive = 75
# The heartbeat file belongs in memory: on a disk, a slow disk looks like a dead worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# The workers' numbers meet in this directory; it must be known before the app is loaded.
if _settings.metrics and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="politeness-metrics-")
# A second way in, in somebody's home directory, is not wanted.
control_socket_disable = True


def child_exit(server: Any, worker: Any) -> None:
    """Forget a dead worker's gauges."""
    if _settings.metrics:
        # Not at the top: the library decides when it is imported whether processes share their numbers.
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

        mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Leave no directory behind."""
    if _settings.metrics:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
