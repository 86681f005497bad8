"""What Linux says about processes: their processor time and their memory."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

MIB = 1024 * 1024
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    pids = [pid]
    for parent in pids:
        pids += _children(parent)
    return pids


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except OSError:  # a process may end while it is looked at
        pass
    return children


def cpu_s(pid: int) -> float:
    """Return the processor seconds a process tree has used, programs it ran and waited for included."""
    return sum(_ticks(each) for each in tree(pid)) / _TICKS_PER_S


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime (proc_pid_stat(5), counted from the state)


def memory_mib(pid: int, field: str = "Pss") -> float:
    """Return one field of a process's smaps_rollup; Pss shares pages out fairly, Pss_Anon leaves files out."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    sizes = (line.split() for line in lines)
    return next((int(words[1]) / 1024 for words in sizes if words[0] == f"{field}:"), 0.0)


def tree_memory_mib(pid: int, field: str = "Pss") -> float:
    """Return the sum of a field over a process tree."""
    return sum(memory_mib(each, field) for each in tree(pid))


def status_mib(pid: int, field: str) -> float:
    """Return one of the memory fields of a process's status, such as VmRSS, RssAnon or RssFile."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


class Peak:
    """Watch a number in the background; `highest` is the most it has been."""

    def __init__(self, read: Callable[[], float], *, every_s: float = 0.02) -> None:
        self.highest = 0.0
        self._read = read
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self.highest = max(self.highest, self._read())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()


class Others:
    """Watch what other programs take of this machine meanwhile; `cores` is how many they kept busy.

    Counts as ours this process and every program it started and waited for.
    """

    def __init__(self) -> None:
        self.cores = 0.0

    def __enter__(self) -> Self:
        self._started_s, self._before_s = time.monotonic(), _busy_s() - _own_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        others_s = _busy_s() - _own_s() - self._before_s
        self.cores = max(0.0, others_s / (time.monotonic() - self._started_s))


def _busy_s() -> float:
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS_PER_S


def _own_s() -> float:
    return sum(os.times()[:4])


def size() -> str:
    """Return how big this machine is."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return f"{len(os.sched_getaffinity(0))} cores, {memory_gib:.0f} GiB"


def today() -> str:
    """Return the date of the measurement."""
    return time.strftime("%Y-%m-%d", time.gmtime())
