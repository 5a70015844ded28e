"""The form of a mask on its way to the writer of MONAI Label's own inference task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from casr_net.inference.label_form import LabelSliced

AFFINE = torch.diag(torch.tensor([-0.3, -0.25, 1.0, 1.0], dtype=torch.float64))


def item(shape: tuple[int, ...] = (40, 30), **more: Any) -> dict[str, Any]:
    image = MetaTensor(torch.zeros(3, 64, 64), affine=AFFINE, meta={"spatial_shape": shape})
    mask = MetaTensor((torch.arange(1200.0).reshape(1, 40, 30) % 2), affine=AFFINE)
    return {"image": image, "pred": mask, **more}


@pytest.mark.parametrize("request_keys", [{}, {"image_path": "a.nrrd", "skip_writer": True}])
def test_everywhere_else_nothing_changes(request_keys: dict[str, Any]) -> None:
    data = item(**request_keys)
    result = LabelSliced("pred")(data)
    assert result.keys() == data.keys() and all(result[key] is data[key] for key in data)
    assert data["image"].meta["spatial_shape"] == (40, 30)


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 12)])
def test_label_server_gets_one_slice_of_a_volume(shape: tuple[int, ...]) -> None:
    result = LabelSliced("pred")(item(shape, image_path="a.nrrd"))
    label = result["pred"]
    assert label.dtype == torch.uint8 and label.shape == (1, 40, 30, 1) and label[0, 1, 1, 0] == 1
    assert torch.equal(label[..., 0].float(), item()["pred"])
    assert result["image"].meta["spatial_shape"] == (40, 30, 1) and torch.equal(label.affine, AFFINE)
    assert "result_extension" not in result


@pytest.mark.parametrize(
    ("path", "asked", "result"),
    [("a.JPG", None, ".png"), ("a.bmp", "", ".png"), ("a.jpeg", ".nrrd", ".nrrd"), ("a.png", None, None)],
)
def test_format_of_the_result(path: str, asked: str | None, result: str | None) -> None:
    data = item(image_path=path) | ({} if asked is None else {"result_extension": asked})
    assert LabelSliced("pred")(data).get("result_extension") == result
