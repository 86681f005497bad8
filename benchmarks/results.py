"""What was measured, beside what it must be, as a table to read and as JSON to draw from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine

DIRECTORY = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Check:
    """One number and its limit; without a limit it is there to be read."""

    what: str
    measured: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def limit(self) -> str:
        """Return the limit in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    @property
    def verdict(self) -> str:
        """Say whether the limit is kept; nothing where there is none."""
        if self.at_most is None and self.at_least is None:
            return ""
        low = self.at_most is None or self.measured <= self.at_most
        high = self.at_least is None or self.measured >= self.at_least
        return "met" if low and high else "**missed**"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a Markdown table; every column but the first is aligned to the right."""
    names = list(header)
    ruler = ["---", *["---:"] * (len(names) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [names, ruler, *map(list, rows)])


def checks_table(checks: Iterable[Check]) -> str:
    """Format what was measured beside its limits."""
    rows = ([check.what, f"{number(check.measured)} {check.unit}", check.limit, check.verdict] for check in checks)
    return table(("", "measured", "limit", ""), rows)


def number(value: float) -> str:
    """Format a number with three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def save(
    name: str, data: Mapping[str, Any], checks: list[Check], *, others: machine.Others, tables: Iterable[str] = ()
) -> None:
    """Print the tables and keep them, and everything they come from, in the results directory."""
    about = f"Measured on {machine.today()} on {machine.size()}; other programs kept {others.cores:.1f} cores busy."
    text = "\n\n".join([about, *tables, checks_table(checks)]) + "\n"
    kept = {"about": about, **data, "checks": [asdict(check) for check in checks]}
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{name}.md").write_text(text)
    (DIRECTORY / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(f"\n{text}", flush=True)


def load(name: str) -> dict[str, Any]:
    """Return what was kept under this name."""
    kept: dict[str, Any] = json.loads((DIRECTORY / f"{name}.json").read_text())
    return kept
