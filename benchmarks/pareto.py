"""Accuracy beside every speed: order, widths, size of input and runtime, as table and plot.

Times are those of ``networks.py``. Dice and clDice, in percent, are of fold 0, which those networks have not seen: of
each network the unit of ``experiments/plan.json`` that is trained, of the sizes ``experiments/input_sizes.py``, of the
runtimes the change that ``experiments/runtime_accuracy.py`` measures. What nobody has trained or measured has no point.
Networks compare within a panel alone: those of one panel saw the same images as often.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["collect", "plot", "table"]

METRICS = ("dice", "cldice")

UNITS = {
    "networks": {"light": "light-taught-fold0", "compact": "densenet121-fold0", "paper": ""},
    "order": {"light": "claim-base-fold0", "light, q = 2": "claim-q2-fold0", "light, q = 1": "claim-q1-fold0"},
}
"""Panels, and in them the trained unit of a network; "": none is planned."""

SIZES = {"light": "512", "light, input 448": "448", "light, input 384": "384"}
TITLES = {
    "networks": "widths, as they are trained best", "order": "order of the decoder, equal training",
    "input": "size of the input, same weights", "runtime": "runtime, same weights",
}  # fmt: skip
LABELS = {
    "order": {"light": "q = 3", "light, q = 2": "q = 2", "light, q = 1": "q = 1"},
    "input": {"light": "512", "light, input 448": "448", "light, input 384": "384"},
}
MARKERS = {"torch": "o", "onnx": "s", "openvino": "^"}
GREYS = {"fp32": "#ffffff", "bf16": "#9a9a9a", "int8": "#000000", "int8+bf16": "#4a4a4a"}


def collect(networks: dict[str, Any], results: Path) -> dict[str, Any]:
    """Points by panel: network, way, milliseconds, Dice and clDice (None where they are not known), and their source.

    Args:
        networks: the figures of ``networks.py``.
        results: folder with the results of the experiments.
    """
    changes = _changes(results / "runtime_accuracy.json")
    points: dict[str, list[dict[str, Any]]] = {}
    for panel, units in UNITS.items():
        for name, unit in units.items():
            accuracy = _evidence(results / "evidence" / f"{unit}.json") if unit else None
            points.setdefault(panel, []).extend(_points(networks, name, accuracy, unit, changes))
    sizes = _read(results / "input_sizes.json")
    for name, size in SIZES.items():
        accuracy = sizes["percent"].get(size) if sizes else None
        points.setdefault("input", []).extend(_points(networks, name, accuracy, "input_sizes.json", changes))
    points["runtime"] = [
        {**point, **changes.get(point["way"], {})}
        for point in _points(networks, "light", None, "runtime_accuracy.json", {})
    ]
    return {"panels": points, "runtime_change_points": changes}


def _points(
    networks: dict[str, Any], name: str, accuracy: dict[str, float] | None, source: str, changes: dict[str, Any]
) -> list[dict[str, Any]]:
    """One network in all runtimes. Accuracy: of single precision, and where a runtime's change is known."""
    found = []
    for way, entry in networks.get(name, {"ways": {}})["ways"].items():
        point: dict[str, Any] = {"network": name, "way": way, "ms": entry["wall_ms"], "source": source or None}
        for metric in METRICS:
            # The changes are the light network's.
            change = 0.0 if way.endswith(("fp32", "as it is")) else changes.get(way, {}).get(metric)
            known = accuracy is not None and change is not None and (name.startswith("light") or not change)
            point[metric] = round(accuracy[metric] + change, 3) if known else None  # type: ignore[index]
        found.append(point)
    return found


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _evidence(path: Path) -> dict[str, float] | None:
    found = _read(path)
    if found is None:
        return None
    means = found["metrics"]["together"]["refined"]["mean"]
    return {metric: 100 * means[metric] for metric in METRICS}


def _changes(path: Path) -> dict[str, dict[str, float]]:
    """Points by which a runtime changes the mean, by its name."""
    found = _read(path)
    return {} if found is None else {way: _points_of(entry) for way, entry in found["summary"].items()}


def _points_of(entry: dict[str, Any]) -> dict[str, float]:
    return {
        metric: entry[metric]["change_points"] if metric in entry else entry[f"{metric}_change_points"]
        for metric in METRICS
    }


def table(result: dict[str, Any]) -> str:
    """The fastest way of each network with its accuracy, and by how much each runtime changes it."""
    lines = ["| | network | fastest way, ms | Dice | clDice |", "|---" * 5 + "|"]
    for panel in ("networks", "order", "input"):
        points = result["panels"][panel]
        for name in dict.fromkeys(point["network"] for point in points):
            own = [point for point in points if point["network"] == name]
            best = min(own, key=lambda point: point["ms"][0])
            told = next((point for point in own if point["dice"] is not None), None)
            accuracy = "not trained | not trained" if told is None else f"{told['dice']:.1f} | {told['cldice']:.1f}"
            label = LABELS.get(panel, {}).get(name, name)
            lines.append(f"| {TITLES[panel]} | {label} | {best['ms'][0]:.0f} ({best['way']}) | {accuracy} |")
    foot = (
        "Dice and clDice in percent, mean of the 118 images of fold 0, in single precision; rows of one kind compare "
        "with each other alone, since the kinds were trained differently."
    )
    return "\n".join([*lines, "", foot])


def plot(result: dict[str, Any], path: Path) -> None:
    """The four panels; legible in grey: runtimes by marker, number formats by filling."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axis, (panel, title) in zip(axes.flat, TITLES.items(), strict=True):
        points = [point for point in result["panels"][panel] if point.get("dice") is not None]
        for point in points:
            runtime, _, kind = point["way"].partition(" ")
            eager = kind == "as it is"
            middle, low, high = point["ms"]
            axis.errorbar(
                middle, point["dice"], xerr=[[middle - low], [high - middle]], fmt="x" if eager else MARKERS[runtime],
                markerfacecolor=GREYS.get(kind, "#ffffff"), markeredgecolor="black", ecolor="#777777", markersize=8,
            )  # fmt: skip
        for name, label in LABELS.get(panel, {point["network"]: point["network"] for point in points}).items():
            own = [point for point in points if point["network"] == name]
            if own and panel != "runtime":
                best = min(own, key=lambda point: point["ms"][0])
                axis.annotate(
                    label, (best["ms"][0], best["dice"]), xytext=(-6, 9), textcoords="offset points", fontsize=10
                )
        axis.set_title(title, fontsize=11)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        axis.set_xlabel("network, ms a frame")
        axis.set_ylabel("change of Dice, points" if panel == "runtime" else "Dice on fold 0, percent")
        axis.grid(alpha=0.3)
        axis.margins(0.15)
        if panel == "runtime":
            axis.axhspan(-0.2, 0.2, color="#dddddd", zorder=0)
            axis.set_ylim(-0.3, 0.3)
    shown = [("x", "#ffffff", "torch as it is")]
    shown += [(marker, GREYS["fp32"], f"{runtime} fp32") for runtime, marker in MARKERS.items()]
    shown += [(MARKERS[way.split()[0]], GREYS[way.split()[1]], way) for way in _others(result)]
    handles = [
        pyplot.Line2D([], [], linestyle="", marker=marker, markerfacecolor=colour, markeredgecolor="black", label=label)
        for marker, colour, label in shown
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _others(result: dict[str, Any]) -> list[str]:
    """Ways in fewer bits, of which there are points."""
    ways = dict.fromkeys(point["way"] for points in result["panels"].values() for point in points)
    return [way for way in ways if way.endswith(("bf16", "int8"))]
