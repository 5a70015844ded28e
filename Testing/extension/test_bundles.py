"""Bundle folders: the shipped one is found, others are checked, and the message names what is missing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from CASRSegmentationLib import bundles

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle = tmp_path / "Bündel ä" / "mine"  # users' folders have such names
    for name in bundles.REQUIRED:
        path = bundle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    (bundle / "configs" / "metadata.json").write_text(json.dumps({"name": "Mine", "version": "2.0"}), encoding="utf-8")
    return bundle


def test_shipped_bundle_is_that_of_the_tree_under_test():
    installed = os.environ.get("CASR_EXTENSION_DIR")
    expected = Path(installed) / "Resources" / "monai_bundle" if installed else ROOT / "monai_bundle"
    bundle = bundles.shipped()
    assert bundle.folder == expected.resolve()
    metadata = json.loads((expected / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert (bundle.name, bundle.version) == (metadata["name"], metadata["version"])
    assert bundle.title == f"{metadata['name']} {metadata['version']}"


def test_installed_bundle_comes_before_that_of_the_repository(folder, tmp_path, monkeypatch):
    module = tmp_path / "CASRSegmentation"
    (module / "Resources").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "monai_bundle")
    monkeypatch.setattr(bundles, "_MODULE", module)
    assert bundles.shipped().folder == (tmp_path / "monai_bundle").resolve()
    shutil.copytree(folder, module / "Resources" / "monai_bundle")
    assert bundles.shipped().folder == (module / "Resources" / "monai_bundle").resolve()


def test_damaged_installation_does_not_fall_back_to_something_else(folder, tmp_path, monkeypatch):
    module = tmp_path / "CASRSegmentation"
    shutil.copytree(folder, module / "Resources" / "monai_bundle")
    shutil.copytree(folder, tmp_path / "monai_bundle")
    (module / "Resources" / "monai_bundle" / "models" / "model.pt").unlink()
    monkeypatch.setattr(bundles, "_MODULE", module)
    with pytest.raises(bundles.BundleError, match=r"missing: models/model\.pt\."):
        bundles.shipped()


def test_own_bundle(folder):
    bundle = bundles.choose(str(folder))
    assert (bundle.folder, bundle.title) == (folder.resolve(), "Mine 2.0")
    assert bundles.missing(folder) == []


@pytest.mark.parametrize("setting", [None, "", "  "])
def test_no_setting_is_the_shipped_bundle(setting):
    assert bundles.choose(setting) == bundles.shipped()


@pytest.mark.parametrize("name", bundles.REQUIRED)
@pytest.mark.parametrize("empty", [False, True])
def test_each_missing_file_is_named(folder, name, empty):
    if empty:
        (folder / name).write_bytes(b"")
    else:
        (folder / name).unlink()
    with pytest.raises(bundles.BundleError) as caught:
        bundles.check(folder)
    assert str(caught.value) == f"{folder.resolve()} is no CASR-Net bundle; missing: {name}."


def test_all_that_is_missing_is_named(tmp_path):
    with pytest.raises(bundles.BundleError) as caught:
        bundles.check(tmp_path)
    assert str(caught.value).endswith(f"missing: {', '.join(bundles.REQUIRED)}.")


def test_a_level_too_low_or_too_high_gets_a_hint(folder):
    with pytest.raises(bundles.BundleError, match=r"Did you mean .*mine\?"):
        bundles.check(folder / "configs")
    folder.rename(folder.with_name("monai_bundle"))
    with pytest.raises(bundles.BundleError, match=r"Did you mean .*monai_bundle\?"):
        bundles.check(folder.parent)


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(bundles.BundleError, match="there is no such folder"):
        bundles.check(tmp_path / "nothing")
    with pytest.raises(bundles.BundleError, match="there is no such folder"):
        bundles.choose(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "states no version"),
        ('{"name": "x"}', "states no version"),
        ('{"version": 3}', "states no version"),
        ("\udcff", "cannot be read"),
    ],
)
def test_metadata_that_cannot_be_read(folder, text, message):
    (folder / "configs" / "metadata.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(bundles.BundleError, match=message):
        bundles.check(folder)


def test_metadata_without_name_takes_the_folder(folder):
    (folder / "configs" / "metadata.json").write_text('{"version": "1"}', encoding="utf-8")
    assert bundles.check(folder).title == "mine 1"
