from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from casr_net import __version__, cli
from casr_net.cli import COMMANDS, main


def test_synth_then_evaluate(tmp_path: Path, capsys) -> None:
    assert main(["synth", "--output", str(tmp_path / "s"), "--count", "2", "--seed", "3", "--size", "64"]) == 0
    assert "files in" in capsys.readouterr().out
    masks = tmp_path / "s" / "synthetic" / "masks"
    assert len(list(masks.iterdir())) == 2
    assert (
        main(["evaluate", str(masks), str(masks), "--json", str(tmp_path / "f.json"), "--csv", str(tmp_path / "f.csv")])
        == 0
    )
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["count"] == 2
    assert report["mean"]["dice"] == report["pooled"]["cldice"] == 1
    assert "dice" in capsys.readouterr().out.lower()
    with open(tmp_path / "f.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row["name"] for row in report["images"]]
    assert {float(row["dice"]) for row in rows} == {1.0}


def test_figures_are_written_whatever_happens_to_the_table(tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object) -> str:
        raise BrokenPipeError

    main(["synth", "--output", str(tmp_path / "s"), "--count", "1", "--size", "64", "--quiet"])
    masks = str(tmp_path / "s" / "synthetic" / "masks")
    monkeypatch.setattr("casr_net.evaluation.compare.format_report", stop)
    monkeypatch.setattr("casr_net.cli._silence", lambda stream: None)
    assert main(["evaluate", masks, masks, "--json", str(tmp_path / "f.json")]) == 0
    assert json.loads((tmp_path / "f.json").read_text())["count"] == 1


def test_synth_refuses_impossible_sizes(tmp_path: Path, capsys) -> None:
    assert main(["synth", "--output", str(tmp_path), "--size", "8"]) == 2
    assert "8" in capsys.readouterr().err


def test_evaluate_of_nothing(tmp_path: Path, capsys) -> None:
    assert main(["evaluate", str(tmp_path / "a"), str(tmp_path / "b")]) in (1, 2)
    error = capsys.readouterr().err
    assert str(tmp_path / "a") in error
    assert "Traceback" not in error


def test_subset_reaches_the_comparison(monkeypatch, tmp_path: Path) -> None:
    asked = []

    def compare(predictions: str, references: str, subset: bool) -> dict:
        asked.append(subset)
        raise KeyboardInterrupt

    monkeypatch.setattr("casr_net.evaluation.compare.evaluate_folders", compare)
    assert main(["evaluate", "a", "b", "--subset"]) == main(["evaluate", "a", "b"]) == 130
    assert asked == [True, False]


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"casr {__version__}"


def test_interruption(monkeypatch, capsys, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("casr_net.synthetic.dataset.write_dataset", interrupt)
    assert main(["synth", "--output", str(tmp_path)]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda command: " ".join(command))
def test_help_has_examples_that_parse(command: tuple[str, ...], capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 112
    examples = [line.split("   ")[0].strip() for line in text.splitlines() if line.startswith("  casr ")]
    assert examples
    for example in examples:
        assert example.split()[1] in COMMANDS
        cli._parser(COMMANDS).parse_args(shlex.split(example)[1:])
