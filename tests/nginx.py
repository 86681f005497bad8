"""A real nginx with the configuration of deploy/, on a port of its own."""

import os
import pwd
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.service import ROOT, Process, wait_until

SITE = ROOT / "deploy" / "nginx.conf"


class Nginx(Process):
    """Balances over the instances that listen on these ports of 127.0.0.1, as many as deploy/nginx.conf names."""

    def __init__(self, directory: Path, instance_ports: Sequence[int]) -> None:
        super().__init__(directory / "nginx.log")
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        (directory / "site.conf").write_text(_on_ports(SITE.read_text(), self.port, instance_ports))
        (directory / "nginx.conf").write_text(_around_the_site(directory))

    def __enter__(self) -> Self:
        configuration = str(self._directory / "nginx.conf")
        self.start(["nginx", "-p", str(self._directory), "-c", configuration], env=dict(os.environ))
        wait_until(self._listens, "nginx to listen")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _on_ports(site: str, port: int, instance_ports: Sequence[int]) -> str:
    site, listeners = re.subn(r"(?m)^( *listen) 80;", rf"\1 127.0.0.1:{port};", site)
    named = re.findall(r"(?m)^ *server (127\.0\.0\.1:\d+)", site)
    assert (listeners, len(named)) == (1, len(instance_ports))
    for address, instance_port in zip(named, instance_ports, strict=True):
        site = site.replace(address, f"127.0.0.1:{instance_port}")
    return site


def _around_the_site(directory: Path) -> str:
    """Return what a distribution's own nginx.conf has around the sites, with everything kept in the directory."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    return f"""
        user {pwd.getpwuid(os.geteuid()).pw_name};
        worker_processes 2;
        daemon off;
        pid {directory}/nginx.pid;
        error_log stderr warn;
        events {{ worker_connections 512; }}
        http {{ {temporary} include {directory}/site.conf; }}
    """
