"""From an open angiogram to its measurements, with masks of known truth in place of the network's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import dicoms
from scipy.ndimage import gaussian_filter

from casr_net.errors import DataError, UsageError
from casr_net.files.images import Angiogram, read_angiogram
from casr_net.report.analyse import LEVEL, analyse
from casr_net.report.options import Options
from casr_net.vessels.measures import METHODS

SIZE, ROW, WIDE, NARROW, BLUR, BRANCH = 160, 80, 10.0, 5.0, 1.2, 136


def row_of(x: float) -> float:
    """Of the middle of the vessel at a column: a wave, since a straight line would be a catheter."""
    return float(ROW + 10 * np.sin(2 * np.pi * x / SIZE))


def at(x: float, off: float = 0.0) -> tuple[float, float]:
    return x, row_of(x) + off


def tube() -> tuple[np.ndarray, np.ndarray]:
    """A vessel, 10 pixels wide and 5 in its middle, with a branch: dark picture, uint8 (rows, columns), and mask."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    narrowing = np.exp(-(((x - SIZE / 2) / 8) ** 2))
    radius = (WIDE - (WIDE - NARROW) * narrowing) / 2
    slope = 10 * 2 * np.pi / SIZE * np.cos(2 * np.pi * x / SIZE)
    middle = ROW + 10 * np.sin(2 * np.pi * x / SIZE)
    distance = np.abs(y - middle) / np.hypot(1, slope)
    distance = np.where((x >= 20) & (x <= 156), distance, np.inf)
    side = np.where((y > middle) & (y < 104), 1.4 * np.abs(x - BRANCH - 0.3 * (y - ROW)), np.inf)
    distance = np.minimum(distance, side)
    chord = 2 * np.sqrt(np.clip(radius**2 - np.minimum(distance, 99) ** 2, 0, None))
    noise = np.random.default_rng(4).normal(0, 1.0, (SIZE, SIZE))
    picture = gaussian_filter(200 - 9 * chord, BLUR) + noise
    return picture.clip(0, 255).astype(np.uint8), distance <= radius


def angiogram(picture: np.ndarray) -> Angiogram:
    return Angiogram.from_array(picture[None] if picture.ndim == 2 else picture)


@pytest.fixture(scope="module")
def narrowed() -> tuple[np.ndarray, np.ndarray]:
    return tube()


def options(mask: np.ndarray, **more: Any) -> Options:
    return Options(mask=np.ascontiguousarray(mask.T), frame=0, doubt=False, **more)


@dataclass
class Truth:
    """In place of a network: the masks of a cine, found by their picture."""

    frames: np.ndarray
    masks: np.ndarray
    asked: list[int] = field(default_factory=list)

    @dataclass
    class Found:
        mask: np.ndarray
        probability: np.ndarray

    def grey(self, image: np.ndarray) -> Truth.Found:
        differences = [np.abs(image.T * 255 - frame).mean() for frame in self.frames]
        mask = self.masks[int(np.argmin(differences))]
        return self.Found(mask, mask.astype(np.float32))

    def of(self, source: Angiogram, frame: int) -> Truth.Found:
        self.asked.append(frame)
        return self.Found(self.masks[frame], self.masks[frame].astype(np.float32))


def test_a_narrowing_is_found_where_it_is_and_as_deep_as_it_is(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    found = analyse(angiogram(picture), None, options(mask, mm_per_pixel=0.2))
    (path, lesion), *others = found.lesions
    assert all(one.unsure for _, one in others) and path.origin == "longest"
    assert lesion.position == pytest.approx((SIZE / 2, ROW), abs=1.5)
    assert lesion.mld == pytest.approx(NARROW, abs=0.5)
    assert lesion.reference == pytest.approx(WIDE, abs=0.5)
    assert lesion.percent_diameter == pytest.approx(50, abs=5)
    told = found.as_dict()["paths"][0]["lesions"][0]
    assert told["mld"]["mm"] == pytest.approx(0.2 * lesion.mld, abs=0.001)
    assert found.scale.kind == "user" and METHODS[int(path.widths.method[lesion.index])] != "mask"


def test_doubt_holds_the_truth(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    chosen = Options(mask=np.ascontiguousarray(mask.T), frame=0)
    found = analyse(angiogram(picture), None, chosen)
    lesion = found.lesions[0][1]
    assert lesion.mld_interval is not None and lesion.percent_interval is not None
    assert lesion.mld_interval.low < NARROW < lesion.mld_interval.high and lesion.mld_interval.level == LEVEL
    assert lesion.percent_interval.low < 50 < lesion.percent_interval.high
    assert found.methods["Doubt"].startswith("Intervals")
    assert analyse(angiogram(picture), None, options(mask)).methods["Doubt"] == "No intervals are given."


def test_between_two_points(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    found = analyse(angiogram(picture), None, options(mask, ends=(at(26), at(150, -7.0))))
    path = found.paths[0]
    assert path.origin == "ends" and path.length == pytest.approx(128, abs=6)
    assert any("The end was moved by" in line for line in found.warnings)
    assert path.lesions[0].percent_diameter == pytest.approx(50, abs=5)
    assert not found.calibrated and found.as_dict()["paths"][0]["lesions"][0]["mld"]["mm"] is None


def test_a_path_without_a_narrowing_tells_its_narrowest_place(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    found = analyse(angiogram(picture), None, options(mask, ends=(at(24), at(52))))
    lesion = found.paths[0].lesions[0]
    assert lesion.rank == 1 and lesion.percent_diameter < 15
    assert "No narrowing stands out on the path; its narrowest place is told." in found.warnings


@pytest.mark.parametrize(("reference", "millimetres"), [((20.0, "px"), None), ((4.0, "mm"), 0.2)])
def test_reference_of_the_user(
    narrowed: tuple[np.ndarray, np.ndarray], reference: tuple[float, str], millimetres: float | None
) -> None:
    picture, mask = narrowed
    chosen = options(mask, ends=(at(26), at(150)), reference=reference, mm_per_pixel=millimetres)
    lesion = analyse(angiogram(picture), None, chosen).paths[0].lesions[0]
    assert lesion.reference == pytest.approx(20) and lesion.reference_method == "user"
    assert lesion.percent_diameter == pytest.approx(75, abs=3)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ends": ((20.0, 20.0), at(150))}, "The start of the path is .* from the nearest vessel; at most 10"),
        ({"ends": (at(26), at(26))}, "the same place"),
        ({"ends": ((float("nan"), ROW), at(26))}, "must be two numbers"),
        ({"ends": (at(26), at(150)), "reference": (3.0, "mm")}, "needs the size of a pixel"),
    ],
)  # fmt: skip
def test_ends_that_do_not_fit(narrowed: tuple[np.ndarray, np.ndarray], more: dict[str, Any], words: str) -> None:
    picture, mask = narrowed
    with pytest.raises(UsageError, match=words):
        analyse(angiogram(picture), None, options(mask, **more))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"french": 60.0}, "catheter is 60.0 French; it must be 3 to 12"),
        ({"french": float("nan")}, "catheter is nan French"),
        ({"mm_per_pixel": 0.0}, "pixel size is 0.0 mm; it must be 0.02 to 2"),
        ({"mm_per_pixel": -1.0}, "pixel size is -1.0 mm"),
        ({"reference": (0.0, "mm"), "ends": ((0.0, 0.0), (1.0, 1.0))}, "reference diameter is 0.0; it must be above 0"),
        ({"reference": (3.0, "mm")}, "say which one"),
        ({"reference": (3.0, "cm"), "ends": ((0.0, 0.0), (1.0, 1.0))}, "must be px or mm"),
        ({"frame": -1}, "frames count from 0"),
    ],
)
def test_options_that_cannot_be(more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Options(**more)


def test_masks_that_say_nothing(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    with pytest.raises(DataError, match=": no vessel was found; there is nothing"):
        analyse(angiogram(picture), None, options(np.zeros_like(mask)))
    with pytest.raises(DataError, match="covers 100 % of the image; vessels cover 50 % at the most"):
        analyse(angiogram(picture), None, options(np.ones_like(mask)))
    with pytest.raises(DataError, match="the mask has 80 x 160 pixels, the image 160 x 160"):
        analyse(angiogram(picture), None, options(mask[:, :80]))
    speck = np.zeros_like(mask)
    speck[50:53, 50:53] = True
    with pytest.raises(DataError, match="without the catheter, are too short to be measured"):
        analyse(angiogram(picture), None, options(speck))


def test_mask_on_every_border(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    framed = mask.copy()
    framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = True, True, True, True
    found = analyse(angiogram(picture), None, options(framed, ends=(at(26), at(150))))
    assert found.paths[0].lesions[0].percent_diameter == pytest.approx(50, abs=5)
    whole = analyse(angiogram(picture), None, options(framed))
    assert all(np.isfinite(lesion.percent_diameter) for _, lesion in whole.lesions)


def test_frames_that_are_not_there(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    with pytest.raises(UsageError, match="there is no frame 3; it has 1, which --frame and files count from 0"):
        analyse(angiogram(picture), None, Options(mask=mask.T, frame=3))
    cine = np.stack([picture] * 3)
    with pytest.raises(UsageError, match="a cine of 3 frames; say which frame"):
        analyse(angiogram(cine), None, Options(mask=mask.T))
    with pytest.raises(UsageError, match="neither a network nor a mask"):
        analyse(angiogram(picture), None, Options(frame=0))


def test_the_best_frame_of_a_cine_is_measured(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    ground = np.full_like(picture, 200)
    shares = (0.0, 0.0, 0.4, 0.8, 1.0, 0.7)
    frames = np.stack([(ground - share * (200 - picture.astype(float))).clip(0, 255) for share in shares])
    frames = frames.astype(np.uint8)
    frames[0, 0, 0] = 201  # no two pictures alike
    until = np.arange(SIZE)[None] < np.array([0, 0, 80, 140, 160, 160])[:, None]
    network = Truth(frames, mask[None] & until[:, None])
    found = analyse(angiogram(frames), network, Options(doubt=False))  # type: ignore[arg-type]
    assert found.frame.number == 4 and network.asked == [4]
    assert found.frame.curve is not None and found.frame.curve["phases"][:2] == ["before", "before"]
    assert found.lesions[0][1].percent_diameter == pytest.approx(50, abs=6)
    chosen = analyse(angiogram(frames), network, Options(frame=3, doubt=False))  # type: ignore[arg-type]
    assert chosen.frame.number == 3 and chosen.frame.curve is None


def test_scales_that_contradict_each_other_are_told(narrowed: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    picture, mask = narrowed
    path = dicoms.write(
        tmp_path / "xa.dcm",
        dicoms.xa(picture[None], PixelSpacing=[0.4, 0.4], PixelSpacingCalibrationType="GEOMETRY"),
    )
    found = analyse(read_angiogram(path), None, options(mask, mm_per_pixel=0.2, french=6.0))
    assert found.scale.row_mm == 0.2
    assert any("contradict each other by 100 %" in line for line in found.warnings)
    assert any("The catheter gives no pixel size" in line for line in found.warnings)
    assert analyse(read_angiogram(path), None, options(mask)).scale.kind == "geometry"


def test_zero_spacing_gives_no_millimetres(narrowed: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    picture, mask = narrowed
    path = dicoms.write(
        tmp_path / "xa.dcm", dicoms.xa(picture[None], PixelSpacing=[0, 0], PixelSpacingCalibrationType="FIDUCIAL")
    )
    found = analyse(path, None, options(mask))
    assert not found.calibrated and "is not usable" in found.scale.note


def test_identity_only_on_request(narrowed: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    picture, mask = narrowed
    path = dicoms.write(tmp_path / "doe_jane.dcm", dicoms.xa(picture[None]))
    found = analyse(path, None, options(mask))
    assert found.source.name == "input" and found.source.identity == {} and len(found.source.sha256) == 64
    kept = analyse(path, None, options(mask, keep_identity=True))
    assert kept.source.name == "doe_jane"
    assert set(kept.source.identity) == {"path", "SOPClassUID", "SOPInstanceUID"}


def test_path_through_a_branch_point_is_marked() -> None:
    picture, mask = tube()
    found = analyse(angiogram(picture), None, options(mask, ends=(at(26), at(150))))
    near = np.abs(found.paths[0].widths.points[:, 0] - BRANCH) < 3
    assert (found.paths[0].widths.unsure[near] > 0).any()
    assert "branch" in {word for flags in found.as_dict()["paths"][0]["unsure"] for word in flags}


def test_a_frame_of_pixels_along_the_border_is_no_vessel(narrowed: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = narrowed
    framed = np.zeros_like(mask)
    framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = True, True, True, True
    with pytest.raises(DataError, match="no vessel shows a width that could be measured"):
        analyse(angiogram(picture), None, options(framed))
