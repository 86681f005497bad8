"""Draw what the results directory holds; the same numbers always give the same bytes."""

from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import results

_COLOURS = {"service": "#2f6f4f", "baseline": "#b3574a", "floor": "#9aa0a6"}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "politeness",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def _save(figure: Figure, name: str) -> None:
    figure.savefig(results.DIRECTORY / f"{name}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(figure)


def _bars(axes: Axes, values: dict[str, float], title: str) -> None:
    drawn = axes.barh(list(values), list(values.values()), color=[_COLOURS[name] for name in values])
    axes.bar_label(drawn, labels=[results.number(value) for value in values.values()], padding=4)
    axes.set_title(title, loc="left", fontsize=11)
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.18)


def draw_throughput(kept: dict[str, Any]) -> None:
    """Draw requests, processor time, latency and memory of the three side by side."""
    figure, ((rate, cpu), (latency, memory)) = plt.subplots(2, 2, figsize=(9, 4.6), layout="constrained")
    _bars(rate, _medians(kept, "requests_per_s"), "Requests a second, 32 clients (more is better)")
    _bars(cpu, _medians(kept, "cpu_ms"), "CPU ms per request (less is better)")
    _bars(latency, _medians(kept, "alone_ms"), "Added latency, one client, ms (less is better)")
    _bars(
        memory,
        {name: app["large_uploads_mib"] for name, app in kept["apps"].items()},
        "Memory, 32 x 24 MiB at once, MiB (less is better)",
    )
    figure.text(0, -0.04, kept["about"], fontsize=9, color="#555555")
    _save(figure, "throughput")


def _medians(kept: dict[str, Any], field: str) -> dict[str, float]:
    return {name: median(turn[field] for turn in app["turns"]) for name, app in kept["apps"].items()}


def draw_long_recordings(kept: dict[str, Any]) -> None:
    """Draw how the time to an answer and the sound recognised stay put while recordings grow."""
    figure, (time, heard) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    _lines(time, kept, "total_ms", 1000, "Seconds to the answer, upload apart")
    _lines(heard, kept, "heard_s", 1, "Seconds of sound recognised")
    heard.axhline(90, color="#555555", linewidth=1, linestyle=":")
    heard.legend(frameon=False, loc="lower right")
    figure.text(0, -0.06, kept["about"], fontsize=9, color="#555555")
    _save(figure, "long")


def _lines(axes: Axes, kept: dict[str, Any], field: str, scale: float, title: str) -> None:
    for container, colour in (("wav", _COLOURS["service"]), ("webm", _COLOURS["baseline"])):
        points = {name: all_ for name, all_ in kept["answers"].items() if name.endswith(container)}
        minutes = [name.split()[0] for name in points]
        values = [median(each[field] for each in all_) / scale for all_ in points.values()]
        axes.plot(minutes, values, marker="o", color=colour, label=container.upper())
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("length of the recording, minutes")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)


def main() -> None:
    """Draw every chart."""
    with plt.rc_context(_STYLE):
        draw_throughput(results.load("throughput"))
        draw_long_recordings(results.load("long_recordings"))


if __name__ == "__main__":
    main()
