"""Wrong values of a configuration: each is named with its key, by us and not by a library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from casr_net.cli import main
from casr_net.errors import UsageError, WeightsError
from casr_net.inference.bundle import build, config_files, load_parser
from casr_net.inference.settings import SETTINGS
from casr_net.network.weights import load_weights

NETWORK = {"_target_": "casr_net.network.CASRNet", "encoder": "efficientnet_lite0", "q": 3}

#: overlay, and what the error must say of it
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"threshold": "high"}, "threshold is 'high'; expected a number above 0 and at most 1"),
    ({"threshold": 5}, "threshold is 5; expected a number above 0"),
    ({"threshold": True}, "threshold is True; expected a number above 0"),
    ({"threshold": float("nan")}, "threshold is nan; expected a number above 0"),
    ({"threshold": [0.5]}, "threshold is [0.5]; expected a number above 0"),
    ({"threshold": None}, "threshold is None; expected a number above 0"),
    ({"network_size": -3}, "network_size is -3; expected a whole number from 32 to 4096"),
    ({"network_size": 511.5}, "network_size is 511.5; expected a whole number"),
    ({"network_size": "512"}, "network_size is '512'; expected a whole number"),
    ({"refine": "no"}, "refine is 'no'; expected true or false"),
    ({"overwrite": 1}, "overwrite is 1; expected true or false"),
    ({"window": [128]}, "window is [128]; expected null, or a list of centre and width"),
    ({"window": [128, 0]}, "window is [128, 0]; expected null"),
    ({"window": ["a", "b"]}, "window is ['a', 'b']; expected null"),
    ({"weights": 3}, "weights is 3; expected a path"),
    ({"weights": ""}, "weights is ''; expected a path"),
    ({"inputs": [1, 2]}, "inputs is [1, 2]; expected a path, or a list of paths"),
    ({"device_name": 0}, "device_name is 0; expected auto, cpu"),
    ({"format": 7}, "format is 7; expected the name of a format"),
    ({"pretrained": False}, "pretrained is False; expected null, or a path"),
    ({"preprocessing": 3}, "'preprocessing' is 3; expected a component: an object with '_target_'"),
    ({"preprocessing": {"transforms": []}}, "'preprocessing' is {'transforms': []}; expected a component"),
    ({"preprocessing": []}, "'preprocessing' is []; expected a component"),
    ({"channels#transforms": "none"}, "'channels#transforms' is 'none'; expected a list"),
    ({"channels#transforms#2#tiles": "many"}, "'channels#transforms#2#tiles' is 'many'; expected a number"),
    ({"channels::transforms::0::anti_aliasing": "yes"}, "anti_aliasing' is 'yes'; expected true or false"),
    ({"network_def#q": [3]}, "'network_def#q' is [3]; expected a number"),
    ({"network_def": {**NETWORK, "q": "three"}}, "'network_def#q' is 'three'; expected a number"),
    ({"network_def": {**NETWORK, "encoder": 5}}, "'network_def#encoder' is 5; expected text"),
    ({"+handlers": 3}, "'handlers' is 3; expected a list"),
    ({"run": {}}, "'run' is {}; expected a list"),
    ({"threshold": "x" * 1000 + "\n\x1b[31m"}, "threshold is 'xxxxxxxxxxxxxxx"),
    ({"tre\nshold": 1}, r"has no key 'tre\nshold'; did you mean 'threshold'?"),
]

#: overlays whose values are only known when the components are made
LATER: list[tuple[dict[str, Any], str]] = [
    ({"threshold": "$2 + 3"}, "threshold is 5; expected a number above 0"),
    ({"network_size": "$512 / 2"}, "network_size is 256.0; expected a whole number"),
    ({"threshold": "@network_size"}, "threshold is 512; expected a number above 0"),
    ({"threshold": "$1 / 0"}, "threshold cannot be made: division by zero"),
    ({"threshold": "$0.5 +"}, "threshold cannot be made: "),
    ({"threshold": "@nothing"}, "threshold cannot be made: "),
    ({"network_def#q": 0}, "q is 0; it must be a whole number from 1"),
    ({"network_def#q": 2.5}, "q is 2.5; it must be a whole number from 1"),
    ({"network_def#dropout": 1}, "dropout is 1; it must be a number from 0 and below 1"),
    ({"network_def#encoder": "resnet"}, "encoder is 'resnet'; known are"),
    ({"network_def#decoder_channels": [96, 64]}, "decoder_channels has 2 widths"),
    ({"network_def#decoder_channels": [96, 64, 40, 24, "16"]}, "decoder_channels is [96, 64, 40, 24, '16']"),
    ({"network_def#depth": 3}, "network_def cannot be made: "),
    ({"channels#transforms#2#tiles": 0}, "tiles is 0; it must be a whole number from 1"),
    ({"channels#transforms#2#clip_limit": -1}, "clip_limit is -1; it must be a number above 0"),
    ({"channels#transforms#2#channels": ["red"]}, "channels are ['red']; known are grey"),
    ({"postprocessing#transforms#3#max_gap": "far"}, "max_gap is 'far'; it must be a number"),
    ({"postprocessing#transforms#3#max_angle": 120}, "max_angle is 120 degrees; it must be at least 0 and below 90"),
]


@pytest.mark.parametrize(("overlay", "text"), WRONG)
def test_wrong_value_is_named(overlay: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(overlay))
    with pytest.raises(UsageError) as caught:
        config_files([path])
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and text in message
    assert message.isprintable() and len(message) < len(str(path)) + 200


@pytest.mark.parametrize(("overlay", "text"), LATER)
def test_values_that_are_known_later(overlay: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(overlay))

    def make() -> None:
        parser = load_parser([path], device_name="cpu")
        for name in ("network_def", "channels", "postprocessing"):
            build(parser, name)

    with pytest.raises(UsageError) as caught:
        make()
    assert text in str(caught.value) and str(caught.value).isprintable()


def test_arguments_of_python_are_checked_too() -> None:
    with pytest.raises(UsageError, match="arguments: threshold is 'high'; expected a number"):
        load_parser(threshold="high")


@pytest.mark.parametrize(
    "overlay",
    [
        {"threshold": 1, "window": [100, 50.5], "network_size": 4096, "inputs": "a.png", "pretrained": "a.pt"},
        {"threshold": "$0.3 + 0.1", "network_size": "$2 * 128", "inputs": ["a.png", "b.png"]},
        {"channels#transforms#0": "$None", "network_def": "@network", "+handlers": [], "~finalize": None},
        {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": 512}, "network_def#dropout": 0},
        {"postprocessing#transforms#3#min_area": 0.001},
    ],
)
def test_what_may_stand_there_passes(overlay: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "right.json"
    path.write_text(json.dumps(overlay))
    assert config_files([path])[1:] == [str(path)]


def test_every_setting_is_a_key(bundle: Path) -> None:
    content = json.loads((bundle / "configs" / "inference.json").read_text())
    assert set(SETTINGS) <= set(content)
    assert {key for key, value in content.items() if isinstance(value, (bool, int, float))} <= set(SETTINGS)
    for shipped in ("paper", "compact"):
        assert config_files([shipped])[1].endswith(f"{shipped}.json")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"threshold": }', "not a JSON configuration: wrong at line 1, column 15"),
        (b'{"a": "\xff"}', "not a JSON configuration: no text in UTF-8"),
        (b"[" * 100_000, "not a JSON configuration"),
        (b'{"threshold": ' + b"9" * 5000 + b"}", "not a JSON configuration"),
        (b"[1]", "expected an object of keys and values"),
        (None, "a folder; expected a configuration file"),
    ],
)
def test_files_that_are_no_configuration(content: bytes | None, text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=text) as caught:
        config_files([path])
    assert str(caught.value).startswith(f"{path}: ")


def test_command_line_says_it_in_one_line(png: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "wrong.json").write_text('{"network_size": 511.5}')
    output = tmp_path / "out"
    assert main(["segment", str(png), "--output", str(output), "--config", str(tmp_path / "wrong.json")]) == 2
    error = capsys.readouterr().err
    assert "network_size is 511.5; expected a whole number from 32 to 4096." in error and error.count("\n") == 1
    assert not output.exists()


def test_weights_that_are_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a folder; expected a weights file"):
        load_weights(None, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", ["inference", "train", "multi_gpu_train"])
def test_switches_of_monai_run_are_no_text(bundle: Path, config: str) -> None:
    """``--overwrite false`` arrives as the text "false", which Python takes for true."""
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in dict.fromkeys(("train", config))])
    if config == "inference":
        parser.read_config(str(bundle / "configs" / "inference.json"))
    (place,) = (
        f"initialize#{number}"
        for number, step in enumerate(parser["initialize"])
        if isinstance(step, dict) and step["_target_"].endswith("check_switches")
    )
    named = {key for key in parser[place] if key != "_target_"}
    assert named == {key for key, value in parser.get().items() if isinstance(value, bool) and key != "overlay"}
    parser.get_parsed_content(place)
    for key in named:
        parser[key] = "false"
        with pytest.raises(Exception, match="check_switches") as caught:
            parser.get_parsed_content(place)
        assert f"{key} is 'false'; expected true or false, which" in str(caught.value.__cause__)
        parser[key] = True


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [("threshold", 5, "threshold is 5; it must be"), ("threshold", "high", "threshold is 'high'; it must be a number")],
)
def test_monai_run_names_them_too(bundle: Path, key: str, value: Any, text: str) -> None:
    """``python -m monai.bundle run --threshold 5`` has no other check than the components' own."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser[key] = value
    with pytest.raises(Exception, match=r"postprocessing|RefineVesselsd") as caught:
        parser.get_parsed_content("postprocessing")
    causes, error = [], caught.value
    while error is not None:
        causes.append(str(error))
        error = error.__cause__
    assert any(cause.startswith(text) for cause in causes)
