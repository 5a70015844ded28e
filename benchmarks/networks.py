"""Time and GFLOP/s of the network by order, widths, size of input and runtime, beside convolutions alone.

Networks come one after the other, since all of them do not fit into memory together. With the variants of each, in
turns, runs the light network as torch computes it by itself, to which ratios are. Before them, chains of large 3 x 3
convolutions in every runtime run in turns among themselves: the fastest of a number format is the machine's roofline,
since nothing that a network does is faster. The operations of a network are those of the rewritten one, which computes
less. A sample is the second of two runs one after the other, as a cine has it frame after frame: the first after
another network finds the caches full of that one's values.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from casr_net.errors import CASRError
from casr_net.inference.bundle import build, load_parser
from casr_net.inference.runtimes.engines import Engine, OnnxEngine, OpenVINOEngine, TorchEngine, as_onnx
from casr_net.inference.runtimes.machine import bfloat16_supported
from casr_net.inference.runtimes.packages import installed_runtimes
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten
from common import Work, median, summary, told, turns, used

__all__ = [
    "BASE", "GROUPS", "Group", "eager", "eight_bits", "engines", "gflop", "made", "measure", "settled", "shares_table",
    "table",
]  # fmt: skip

BASE = "light as it is in torch"
"""What ratios are to."""

CHAINS = ((64, 256), (128, 128), (256, 64))
"""Channels, and rows and columns, of the convolutions. Four of a kind follow each other, so that the change of layout
at both ends weighs less."""

LONG = 4


class Group(NamedTuple):
    """A network: overlay of ``configs/inference.json``, settings of the network, side of the input."""

    name: str
    overlay: str | None = None
    settings: dict[str, Any] = {}  # noqa: RUF012  # never changed
    size: int = 512


GROUPS = (
    Group("light"),
    Group("light, q = 2", settings={"q": 2}),
    Group("light, q = 1", settings={"q": 1}),
    Group("light, input 448", size=448),
    Group("light, input 384", size=384),
    Group("compact", "compact"),
    Group("paper", "paper"),
)


def made(group: Group) -> nn.Module:
    """The network in evaluation mode, with random weights: they change nothing about the time."""
    parser = load_parser([group.overlay] if group.overlay else [], device_name="cpu")
    for key, value in group.settings.items():
        parser.get()["network_def"][key] = value
    torch.manual_seed(0)
    network: nn.Module = build(parser, "network_def")
    return network.eval()


def engines(
    network: nn.Module, channels: int = 3, convert: Callable[[nn.Module, int], bytes] = as_onnx
) -> dict[str, Engine]:
    """The network in each runtime and number format of this machine, as ``casr segment`` takes it: rewritten.

    Args:
        network: in evaluation mode.
        channels: of its input.
        convert: from the network and its channels to an ONNX file.
    """
    net = rewritten(network) if type(network) is CASRNet else network
    found: dict[str, Engine] = {}
    formats = [False, True] if bfloat16_supported() else [False]
    for bfloat16 in formats:
        found[f"torch {'bf16' if bfloat16 else 'fp32'}"] = TorchEngine(net, bfloat16)
    if len(installed_runtimes()) > 1:
        model = convert(net, channels)
        if "onnx" in installed_runtimes():
            found["onnx fp32"] = OnnxEngine(model)
        if "openvino" in installed_runtimes():
            for bfloat16 in formats:
                found[f"openvino {'bf16' if bfloat16 else 'fp32'}"] = OpenVINOEngine(model, bfloat16)
    return found


def eight_bits(group: Group, inputs: torch.Tensor) -> dict[str, Work]:
    """The shipped network in 8 bits; nothing where there is none for its weights."""
    if group.settings:
        return {}
    try:
        parser = load_parser(
            [group.overlay] if group.overlay else [], device_name="cpu", runtime="openvino", precision="int8"
        )
        network, inferer = build(parser, "network").eval(), build(parser, "inferer")
        inferer(inputs, network)
    except CASRError:
        return {}
    return {inferer.used: functools.partial(inferer, inputs, network)}


def eager(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """The network as torch computes it by itself."""
    with torch.no_grad():
        result: torch.Tensor = network(inputs)
    return result


def gflop(network: nn.Module, inputs: torch.Tensor) -> float:
    """Multiplications and additions of the convolutions and matrix products, 10^9."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(inputs)
    return float(counter.get_total_flops()) / 1e9


def chains(sizes: tuple[tuple[int, int], ...] = CHAINS) -> tuple[dict[str, Work], dict[str, float]]:
    """Convolutions alone, by name, and their 10^9 operations."""
    found: dict[str, Work] = {}
    operations: dict[str, float] = {}
    for width, side in sizes:
        torch.manual_seed(0)
        chain = nn.Sequential(*(nn.Conv2d(width, width, 3, padding=1) for _ in range(LONG))).eval()
        inputs = torch.rand(1, width, side, side)
        for way, engine in engines(chain, width).items():
            name = f"{width} channels, {side} x {side}, {way}"
            found[name], operations[name] = functools.partial(engine, inputs), gflop(chain, inputs)
    return found, operations


def settled(work: Work) -> dict[str, float]:
    """What the second of two runs takes."""
    work()
    return used(work)


def _roofline(rounds: int) -> dict[str, Any]:
    """The rates of all chains, GFLOP/s, and the name of the fastest of each format."""
    found, operations = chains()
    times = summary(turns(found, rounds, settled))
    rates = {name: round(operations[name] / median(times, name) * 1000, 1) for name in found}
    best = {
        way: max((name for name in rates if name.endswith(way)), key=rates.__getitem__)
        for way in ("fp32", "bf16")
        if any(name.endswith(way) for name in rates)
    }
    return {"all": rates, "best": best}


def measure(rounds: int, groups: tuple[Group, ...] = GROUPS) -> dict[str, Any]:
    """Milliseconds, ratios, GFLOP/s and shares of the roofline, by network and way."""
    rates = _roofline(rounds)
    base, base_input = made(GROUPS[0]), torch.rand(1, 3, GROUPS[0].size, GROUPS[0].size)
    networks: dict[str, Any] = {}
    for group in groups:
        network, inputs = made(group), torch.rand(1, 3, group.size, group.size)
        ways: dict[str, Work] = {"torch as it is": functools.partial(eager, network, inputs)}
        ways |= {name: functools.partial(engine, inputs) for name, engine in engines(network).items()}
        ways |= eight_bits(group, inputs)
        times = summary(turns({BASE: functools.partial(eager, base, base_input), **ways}, rounds, settled))
        plain = gflop(network, inputs)
        fewer = gflop(rewritten(network, narrow=False), inputs) if type(network) is CASRNet else plain
        entries: dict[str, Any] = {}
        for way in ways:
            rate = (plain if way == "torch as it is" else fewer) / median(times, way) * 1000
            share = None  # there is no limit of mixed formats
            if "int8" not in way:
                share = round(rate / rates["all"][rates["best"]["bf16" if way.endswith("bf16") else "fp32"]], 3)
            entries[way] = {
                **times[way], "ratio": round(median(times, BASE) / median(times, way), 3),
                "gflops": round(rate, 1), "share": share,
            }  # fmt: skip
        networks[group.name] = {
            "size": group.size, "parameters": sum(value.numel() for value in network.parameters()),
            "gflop": round(plain, 2), "gflop_rewritten": round(fewer, 2),
            "base_ms": times[BASE]["wall_ms"], "ways": entries,
        }  # fmt: skip
        del ways, network
        gc.collect()
    return {"convolutions_gflops": rates, "networks": networks}


def _share(value: float | None) -> str:
    return "" if value is None else f" ({100 * value:.0f} %)"


def _columns(networks: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(way for entry in networks.values() for way in entry["ways"]))


def table(result: dict[str, Any]) -> str:
    """Milliseconds with their quartiles by network and way."""
    networks = result["networks"]
    ways = _columns(networks)
    lines = [f"| network | GFLOP | rewritten | {' | '.join(ways)} |", "|---" * (3 + len(ways)) + "|"]
    for name, entry in networks.items():
        cells = []
        for way in ways:
            middle, low, high = entry["ways"][way]["wall_ms"] if way in entry["ways"] else (0, 0, 0)
            cells.append(f"{middle:.0f} ({low:.0f} to {high:.0f})" if middle else "-")
        lines.append(f"| {name} | {entry['gflop']:.1f} | {entry['gflop_rewritten']:.1f} | {' | '.join(cells)} |")
    return "\n".join(
        [*lines, "", f"Milliseconds a frame, of the second of two in a row; median and quartiles. {told(result)}"]
    )


def shares_table(result: dict[str, Any]) -> str:
    """GFLOP/s, and shares of the roofline."""
    networks = result["networks"]
    ways = _columns(networks)
    lines = [f"| network | {' | '.join(ways)} |", "|---" * (1 + len(ways)) + "|"]
    for name, entry in networks.items():
        found = (entry["ways"].get(way) for way in ways)
        cells = ("-" if way is None else f"{way['gflops']:.0f}{_share(way['share'])}" for way in found)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rates, best = result["convolutions_gflops"]["all"], result["convolutions_gflops"]["best"]
    roofs = "; ".join(f"{way}: {rates[name]:.0f} GFLOP/s ({name})" for way, name in best.items())
    return "\n".join([*lines, "", f"GFLOP/s, and share of the convolutions alone. Fastest of them: {roofs}."])
