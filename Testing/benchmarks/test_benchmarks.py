"""Benchmarks: turns, tables, points without accuracy, and the checks of a GPU as a rehearsal. Nothing is timed."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def _benchmarks_on_the_path() -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


def test_turns_alternate_and_forget_the_first() -> None:
    from common import median, summary, turns

    seen: list[str] = []
    values = iter(range(100))

    def sample(work: Any) -> dict[str, float]:
        work()
        return {"x": float(next(values))}

    samples = turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, 3, sample)
    assert seen == ["a", "b"] * 4
    assert samples == {"a": {"x": [2.0, 4.0, 6.0]}, "b": {"x": [3.0, 5.0, 7.0]}}
    found = summary(samples)
    assert found["a"]["x"] == [4.0, 3.0, 5.0] and median(found, "b", "x") == 5.0


def test_what_a_call_takes() -> None:
    from common import used

    assert set(used(lambda: None)) == {"wall_ms", "cpu_ms", "kernel_ms", "page_faults"}


def test_tables_go_between_their_marks(tmp_path: Path) -> None:
    from common import put_table

    text = tmp_path / "text.md"
    text.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nbehind <!-- b --> <!-- /b -->\n")
    for _ in range(2):
        put_table(text, "a", "new\n")
    assert text.read_text() == "before\n<!-- a -->\nnew\n<!-- /a -->\nbehind <!-- b --> <!-- /b -->\n"
    with pytest.raises(ValueError, match="<!-- c -->"):
        put_table(text, "c", "x")


def test_every_table_has_its_marks() -> None:
    import bench

    guide, readme = bench.GUIDE.read_text(encoding="utf-8"), bench.README.read_text(encoding="utf-8")
    marks = {"pareto", *(mark for part in bench.PARTS.values() for mark in part.tables)}
    assert [mark for mark in marks if guide.count(f"<!-- {mark} -->") != 1 or f"<!-- /{mark} -->" not in guide] == []
    assert readme.count("<!-- speed -->") == readme.count("<!-- /speed -->") == 1


def test_operations_of_a_convolution() -> None:
    from networks import gflop

    convolution = torch.nn.Conv2d(8, 4, 3, padding=1)
    assert gflop(convolution, torch.zeros(1, 8, 10, 12)) == pytest.approx(2 * 8 * 4 * 9 * 10 * 12 / 1e9)


def test_a_network_measured_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import networks

    def small_engines(network: torch.nn.Module, channels: int = 3) -> dict[str, Any]:
        return {"torch fp32": functools.partial(networks.eager, network)}

    monkeypatch.setattr(networks, "engines", small_engines)
    monkeypatch.setattr(
        networks, "eight_bits", lambda group, inputs: {"openvino int8+bf16": lambda: torch.rand(2000, 2000)}
    )
    monkeypatch.setattr(networks, "CHAINS", ((4, 16),))
    small = networks.Group("light", size=64)
    monkeypatch.setattr(networks, "GROUPS", (small,))
    result = {
        **networks.measure(1, (small,)), "rounds": 1, "torch_threads": 1, "machine": {"processor": "p"}, "note": "n"
    }  # fmt: skip
    entry = result["networks"]["light"]
    assert entry["gflop"] > entry["gflop_rewritten"] > 0 and entry["ways"].pop("openvino int8+bf16")["share"] is None
    assert set(entry["ways"]) == {"torch as it is", "torch fp32"}
    assert "| light |" in networks.table(result) and "%)" in networks.shares_table(result)


@pytest.mark.parametrize("nested", [False, True])
def test_accuracy_only_where_it_was_measured(tmp_path: Path, nested: bool) -> None:
    import pareto

    def measured(*ways: str) -> dict[str, Any]:
        return {"ways": {way: {"wall_ms": [10.0, 9.0, 12.0]} for way in ways}}

    (tmp_path / "evidence").mkdir()
    mean = {"together": {"refined": {"mean": {"dice": 0.8, "cldice": 0.7}}}}
    for unit in ("light-taught-fold0", "densenet121-fold0"):
        (tmp_path / "evidence" / f"{unit}.json").write_text(json.dumps({"metrics": mean}))
    change = {"dice": {"change_points": -0.1}, "cldice": {"change_points": 0.2}}
    flat = {"dice_change_points": -0.1, "cldice_change_points": 0.2}
    (tmp_path / "runtime_accuracy.json").write_text(json.dumps({"summary": {"torch bf16": change if nested else flat}}))
    networks = {name: measured("torch as it is", "torch bf16") for name in ("light", "compact", "paper")}
    points = pareto.collect(networks, tmp_path)
    dice = {(point["network"], point["way"]): point["dice"] for point in points["panels"]["networks"]}
    assert dice["light", "torch as it is"] == dice["compact", "torch as it is"] == 80.0
    assert dice["light", "torch bf16"] == pytest.approx(79.9)
    # The change was measured with the light network; the paper's widths are not trained.
    assert dice["compact", "torch bf16"] is None and dice["paper", "torch as it is"] is None
    assert points["panels"]["input"] and all(point["dice"] is None for point in points["panels"]["input"])
    assert "| paper | 10 (torch as it is) | not trained | not trained |" in pareto.table(points)


def test_without_a_gpu_nothing_passes(tmp_path: Path, capsys: Any) -> None:
    import gpu_check

    output = tmp_path / "gpu.json"
    assert gpu_check.main(["--device", "cuda:9", "--output", str(output)]) == 2
    assert "no GPU" in capsys.readouterr().err and not output.exists()
    assert gpu_check.main(["--device", "tpu", "--output", str(output)]) == 2


def test_the_checks_of_a_gpu_rehearsed(tmp_path: Path, capsys: Any) -> None:
    import gpu_check

    output = tmp_path / "gpu.json"
    wanted = ("masks", "half precision", "speed", "memory", "tensorrt", "training")
    only = [word for name in wanted for word in ("--only", name)]
    code = gpu_check.main(["--device", "cpu", "--output", str(output), *only], size=64, batches=(1,))
    told, result = capsys.readouterr().out, json.loads(output.read_text())
    assert code == 0 and result["passed"] and result["rehearsal"] and "REHEARSAL" in told
    states = [line["state"] for line in result["checks"]]
    assert states.count("passed") >= 7 and "failed" not in states
    assert [line["name"] for line in result["checks"] if line["state"] == "left out"] == ["TensorRT"]


def test_a_check_that_breaks_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_check

    def broken(check: Any) -> None:
        raise RuntimeError("cuDNN is not there")

    monkeypatch.setattr(gpu_check, "checks", lambda: {"first": broken, "second": lambda check: check.say("b", "fine")})
    output = tmp_path / "gpu.json"
    assert gpu_check.main(["--device", "cpu", "--output", str(output)]) == 1
    result = json.loads(output.read_text())
    assert not result["passed"] and [line["state"] for line in result["checks"]] == ["failed", "value"]
    assert "cuDNN is not there" in result["checks"][0]["text"]
