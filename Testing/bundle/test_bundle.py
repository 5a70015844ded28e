"""What MONAI's bundle tools, and the model zoo's checks, ask of the bundle."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

from casr_net.inference import WeightsCalibration
from casr_net.inference.bundle import load_parser
from casr_net.uncertainty import TwoTemperatures

SCHEMA = Path(__file__).resolve().parents[1] / "data" / "meta_schema_20240725.json"


@pytest.fixture
def metadata(bundle: Path) -> dict:
    return json.loads((bundle / "configs" / "metadata.json").read_text())


def test_metadata_follow_the_schema(bundle: Path, tmp_path: Path) -> None:
    schema = shutil.copy(SCHEMA, tmp_path / "schema.json")
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema), hash_val=None)


def test_metadata_without_a_required_key_are_refused(metadata: dict, tmp_path: Path) -> None:
    schema = shutil.copy(SCHEMA, tmp_path / "schema.json")
    del metadata["monai_version"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="monai_version"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(schema), hash_val=None)


def test_versions(metadata: dict) -> None:
    import casr_net

    assert metadata["version"] == casr_net.__version__
    assert metadata["version"] in metadata["changelog"]
    assert metadata["monai_version"] == version("monai")
    assert version("torch").startswith(metadata["pytorch_version"])


def test_channels(metadata: dict) -> None:
    data_format = metadata["network_data_format"]
    assert data_format["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "coronary artery"}
    parser = load_parser()
    assert data_format["inputs"]["image"]["num_channels"] == parser["network_def#in_channels"]


def test_files_of_the_zoo(bundle: Path) -> None:
    for name in ("LICENSE", "configs/inference.json", "configs/logging.conf", "models/model.pt", "docs/README.md"):
        assert (bundle / name).is_file(), name
    assert (bundle / "docs" / "data_license.txt").is_file()
    # Checkpoints, which a training leaves in models/, and converted
    # networks are no part of the bundle. The zoo keeps files from 25 MB on
    # elsewhere (large_files.yml), which the compact network in half precision needs; 35 MB is our own limit.
    files = [p for p in bundle.rglob("*") if p.is_file() and p.suffix != ".ckpt" and p.parent.name != ".runtimes"]
    large = [p.name for p in files if p.stat().st_size >= 35e6]
    assert large == []


@pytest.mark.parametrize("name", ["model.pt", "compact.pt"])
@pytest.mark.parametrize("kind", ["single", "tta"])
def test_calibration_is_of_the_weights_that_ship(bundle: Path, name: str, kind: str) -> None:
    results = bundle.parent / "experiments" / "results" / "shipped_calibration.json"
    entry = json.loads(results.read_text())["shipped"][name][kind]
    found = WeightsCalibration(bundle / "models" / name, tta=kind == "tta").fit()
    assert found == TwoTemperatures(entry["below"], entry["above"])
    assert entry["ece_there"]["after"] < 0.005 < entry["ece_there"]["before"]


def test_net_in_out(bundle: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        device="cpu",
        n=2,
    )


def test_torchscript_export(bundle: Path, tmp_path: Path) -> None:
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
    )
    exported = torch.jit.load(str(tmp_path / "model.ts"))
    network = load_parser(device_name="cpu").get_parsed_content("network")
    x = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        assert (exported(x) - network(x)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["inference"], "infer"),
        (["train"], "train"),
        (["train", "paper"], "train"),
        (["train", "evaluate"], "train"),
    ],
)
def test_properties(bundle: Path, synthetic_set: Path, tmp_path: Path, names: list[str], kind: str) -> None:
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in names],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=kind,
        bundle_root=str(bundle),
        dataset_dir=str(synthetic_set if names[0] == "train" else synthetic_set / "synthetic" / "images"),
        output_dir=str(tmp_path),
        network_size=64,
        limit=2,
        weights=str(bundle / "models" / "model.pt"),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize("name", ["paper", "compact"])
def test_network_overlays_fit_training_and_inference(bundle: Path, name: str) -> None:
    from monai.bundle import ConfigParser

    for base in ("train", "inference"):
        parser = ConfigParser()
        parser.read_config([str(bundle / "configs" / f"{n}.json") for n in (base, name)])
        network = parser.get_parsed_content("network_def")
        assert network.settings["decoder_channels"][-1] == 16


def test_training_and_inference_preprocess_alike(bundle: Path) -> None:
    """What the network sees in validation and in inference comes from transforms of equal settings."""
    from casr_net.preprocessing.transforms import MultichannelPreprocessd

    parser = load_parser()
    inference, names = parser["channels"]["transforms"], parser["channel_names"]
    train = json.loads((bundle / "configs" / "train.json").read_text())
    settings = {"keys": "image", "field_key": "field"}
    target = "casr_net.preprocessing.MultichannelPreprocessd"
    (shipped,) = (t for t in inference if t["_target_"] == target)
    used = [t for t in (train["train"]["channels"], *train["validate"]["image_transforms"]) if t["_target_"] == target]
    assert train["channel_names"] == names
    assert all(t.pop("_target_") == target and t.pop("channels") == "@channel_names" for t in (shipped, *used))
    made = [vars(MultichannelPreprocessd(channels=names, **t)) for t in (shipped, *used)]
    assert len(made) == 3
    for other in made[1:]:
        for key, value in made[0].items():
            assert other[key] == pytest.approx(value) if isinstance(value, float) else other[key] == value, key
    assert settings.items() <= used[0].items()
