"""From stored to shown grey: each rule of the standard and of ours, by files made here, with the right values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.dicoms import xa as xa_object
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from casr_net.errors import DataError
from casr_net.files.images import Angiogram, read_angiogram
from casr_net.files.intensity import Display, choose_rule, luminance, percentile_range
from casr_net.files.transfer import Ramp, Sigmoid, window

XA, SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.7"
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"
STORED = (np.arange(40 * 60).reshape(40, 60) * 400 // 2400 + 300).astype(np.uint16)  # 300 to 699, all values


def item(**values: Any) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def table(first: int, entries: np.ndarray, bits: int = 16) -> Dataset:
    made = Dataset()
    made.add_new("LUTDescriptor", "US", [len(entries) % 65536, first % 65536, bits])
    made.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return made


def xa(path: Path, stored: np.ndarray = STORED, **attributes: Any) -> Path:
    made = xa_object(stored[None] if stored.ndim == 2 else stored, **attributes)
    made.save_as(path, enforce_file_format=True)
    return path


def grey_of(path: Path, frame: int = 0, **options: Any) -> np.ndarray:
    """(rows, columns)."""
    return read_angiogram(path, **options).grey(frame).T


def ramp(low: float, high: float, stored: np.ndarray = STORED) -> np.ndarray:
    return np.clip((stored.astype(float) - low) / (high - low), 0, 1)


PLAIN = ramp(*np.percentile(STORED, (0.1, 99.9)))


# Modality


@pytest.mark.parametrize("relationship", ["LOG", "DISP", "DRM", None])
@pytest.mark.parametrize("sop_class", [XA, SECONDARY_CAPTURE])
def test_modality_lut_of_xray_is_not_for_display(relationship: str | None, sop_class: str, tmp_path: Path) -> None:
    curve = np.exp(np.arange(1024) / 150)
    attributes = {"ModalityLUTSequence": Sequence([table(0, curve)]), "SOPClassUID": sop_class}
    if relationship:
        attributes["PixelIntensityRelationship"] = relationship
    assert np.allclose(grey_of(xa(tmp_path / "a.dcm", **attributes)), PLAIN, atol=1e-6)
    windowed = xa(tmp_path / "w.dcm", **attributes, WindowCenter=500, WindowWidth=201)
    assert np.allclose(grey_of(windowed), ramp(399.5, 599.5), atol=1e-6)


def test_modality_lut_of_other_objects_is_applied(tmp_path: Path) -> None:
    falling = 2000 - np.arange(1024)
    path = xa(
        tmp_path / "a.dcm", SOPClassUID=SECONDARY_CAPTURE, Modality="OT",
        ModalityLUTSequence=Sequence([table(0, falling)]), WindowCenter=1500.5, WindowWidth=401,
    )  # fmt: skip
    assert np.allclose(grey_of(path), ramp(1300, 1700, 2000 - STORED.astype(int)), atol=1e-6)


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    path = xa(tmp_path / "a.dcm", RescaleSlope=2, RescaleIntercept=-100, WindowCenter=900.5, WindowWidth=401)
    assert np.allclose(grey_of(path), ramp(700, 1100, STORED * 2.0 - 100), atol=1e-6)


@pytest.mark.parametrize("slope", ["0", "nan", "x"])
def test_a_useless_slope_is_passed_over_and_named(slope: str, tmp_path: Path) -> None:
    path = xa(tmp_path / "a.dcm", RescaleSlope="7.125", RescaleIntercept="0")
    path.write_bytes(path.read_bytes().replace(b"7.125 ", slope.ljust(6).encode()))
    source = read_angiogram(path)
    assert np.allclose(source.grey(0).T, PLAIN, atol=1e-6)
    assert any("RescaleSlope" in line and slope in line for line in source.warnings)


# VOI


def test_voi_lut_comes_before_windows_and_may_fall(tmp_path: Path) -> None:
    falling = np.linspace(4095, 0, 500).round()
    path = xa(tmp_path / "a.dcm", VOILUTSequence=Sequence([table(250, falling, 12)]), WindowCenter=500, WindowWidth=100)
    expected = falling[STORED.astype(int) - 250] / 4095
    assert np.allclose(grey_of(path), expected, atol=1e-6)
    assert read_angiogram(path).rule.describe()["rule"] == "VOI LUT"


def test_voi_lut_of_signed_pixels_starts_below_zero(tmp_path: Path) -> None:
    signed = (STORED.astype(np.int16) - 500).astype(np.int16)
    path = xa(tmp_path / "a.dcm", signed, VOILUTSequence=Sequence([table(-300, np.arange(600), 10)]))
    assert np.allclose(grey_of(path), (signed.astype(float) + 300) / 1023, atol=1e-6)


def test_eight_bit_tables_packed_into_bytes(tmp_path: Path) -> None:
    entries = (np.arange(500) // 2).astype(np.uint8)
    lut = table(250, np.zeros(500), 8)
    lut.LUTData = entries.tobytes()
    path = xa(tmp_path / "a.dcm", VOILUTSequence=Sequence([lut]))
    assert np.allclose(grey_of(path), entries[STORED.astype(int) - 250] / 255, atol=1e-6)


@pytest.mark.parametrize("attributes", [
    {"WindowCenter": 500, "WindowWidth": 201},
    {"WindowCenter": [500, 7], "WindowWidth": [201, 9], "VOILUTFunction": "LINEAR"},
    {"WindowCenter": ["", 500], "WindowWidth": ["", 201]},
    {"WindowCenter": [40, 500], "WindowWidth": [0, 201]},
    {"WindowCenter": 499.5, "WindowWidth": 200, "VOILUTFunction": "LINEAR_EXACT"},
])  # fmt: skip
def test_first_usable_window(attributes: dict[str, Any], tmp_path: Path) -> None:
    assert np.allclose(grey_of(xa(tmp_path / "a.dcm", **attributes)), ramp(399.5, 599.5), atol=1e-6)


def test_sigmoid(tmp_path: Path) -> None:
    path = xa(tmp_path / "a.dcm", WindowCenter=500, WindowWidth=200, VOILUTFunction="SIGMOID")
    assert np.allclose(grey_of(path), 1 / (1 + np.exp(-4 * (STORED.astype(float) - 500) / 200)), atol=1e-6)


def test_decimal_comma(tmp_path: Path) -> None:
    path = xa(tmp_path / "a.dcm", WindowCenter="500.25", WindowWidth="201.5")
    path.write_bytes(path.read_bytes().replace(b"500.25", b"500,25").replace(b"201.5 ", b"201,5 "))
    assert np.allclose(grey_of(path), ramp(500.25 - 0.5 - 100.25, 500.25 - 0.5 + 100.25), atol=1e-6)


@pytest.mark.parametrize(("centre", "width"), [(40, 400), (32768, 1000), (290, 21)])
def test_a_window_of_other_pixels_is_passed_over_and_said(centre: float, width: float, tmp_path: Path) -> None:
    source = read_angiogram(xa(tmp_path / "a.dcm", WindowCenter=centre, WindowWidth=width))
    assert np.allclose(source.grey(0).T, PLAIN, atol=1e-6)
    (line,) = source.warnings
    assert f"{centre} {width}" in line and "% of the pixels" in line
    assert source.rule.describe()["rule"] == "percentiles"


def test_a_narrow_window_of_these_pixels_is_kept(tmp_path: Path) -> None:
    assert np.allclose(grey_of(xa(tmp_path / "a.dcm", WindowCenter=500, WindowWidth=41)), ramp(479.5, 519.5), atol=1e-6)


def test_a_window_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    source = read_angiogram(xa(tmp_path / "a.dcm", WindowCenter=500, WindowWidth=0))
    assert np.allclose(source.grey(0).T, PLAIN, atol=1e-6)
    assert any("WindowWidth" in line for line in source.warnings)


def test_the_users_window_is_taken_whatever_the_file_says(tmp_path: Path) -> None:
    path = xa(tmp_path / "a.dcm", WindowCenter=500, WindowWidth=201)
    assert np.allclose(grey_of(path, window=(350, 21)), ramp(339.5, 359.5), atol=1e-6)
    assert np.allclose(grey_of(path), ramp(399.5, 599.5), atol=1e-6)
    with pytest.raises(DataError, match=r"window is 500 1; expected"):
        grey_of(path, window=(500, 1))


def test_window_functions_by_the_examples_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2.1: c = 2048, w = 4096 covers 0 to 4095; c = 2048, w = 1 is a threshold, of no use here.
    assert window(2048, 4096) == Ramp(0.0, 4095.0)
    assert window(2048, 1) is None and window(2048, 1, "LINEAR_EXACT") == Ramp(2047.5, 2048.5)
    assert window(0, 100, "SIGMOID") == Sigmoid(0, 100)
    assert [window(value, 100) for value in (np.nan, np.inf, 1e300)] == [None] * 3


# Polarity, bits, padding, outliers


@pytest.mark.parametrize(("attributes", "inverted"), [
    ({"PhotometricInterpretation": "MONOCHROME1"}, True),
    ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
    ({"PresentationLUTShape": "INVERSE"}, True),
    ({"PresentationLUTShape": "IDENTITY"}, False),
])  # fmt: skip
def test_polarity(attributes: dict[str, Any], inverted: bool, tmp_path: Path) -> None:
    found = grey_of(xa(tmp_path / "a.dcm", **attributes))
    assert np.allclose(found, 1 - PLAIN if inverted else PLAIN, atol=1e-6)


def test_eight_bits_keep_their_full_range(tmp_path: Path) -> None:
    small = (STORED // 4).astype(np.uint16)
    path = xa(tmp_path / "a.dcm", small, BitsStored=8, HighBit=7)
    assert np.allclose(grey_of(path), small / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "limit", "kind"), [(-32768, None, np.int16), (0, None, np.uint16), (0, 9, np.uint16)]
)
def test_padding_is_left_out_of_the_range(value: int, limit: int | None, kind: type, tmp_path: Path) -> None:
    stored = STORED.astype(kind)
    stored[:10] = value
    attributes: dict[str, Any] = {}
    if limit is not None:
        stored[:5] = limit
        attributes["PixelPaddingRangeLimit"] = limit
    path = xa(tmp_path / "a.dcm", stored, PixelPaddingValue=value, **attributes)
    low, high = np.percentile(STORED[10:], (0.1, 99.9))
    assert np.allclose(grey_of(path)[10:], ramp(low, high)[10:], atol=1e-5)


def test_padding_means_stored_values_not_rescaled_ones(tmp_path: Path) -> None:
    stored = STORED.copy()
    stored[:10] = 0
    path = xa(tmp_path / "a.dcm", stored, PixelPaddingValue=0, RescaleSlope=2, RescaleIntercept=-600)
    low, high = np.percentile(STORED[10:], (0.1, 99.9))
    assert np.allclose(grey_of(path)[10:], ramp(low, high)[10:], atol=1e-5)


@pytest.mark.parametrize("share", [0.009, 0.06, 0.3])
@pytest.mark.parametrize("value", [65535, 0])
def test_text_and_banners_far_from_the_content_do_not_set_the_range(share: float, value: int) -> None:
    rng = np.random.default_rng(0)
    content = rng.integers(3000, 4000, 40_000)
    mixed = content.copy()
    mixed[: round(share * mixed.size)] = value
    assert percentile_range(mixed) == pytest.approx(percentile_range(content), abs=10)


def test_noisy_text_far_from_the_content_does_not_set_the_range() -> None:
    rng = np.random.default_rng(0)
    content = rng.integers(3000, 4000, 40_000)
    mixed = content.copy()
    mixed[:400] = rng.integers(60_000, 65_536, 400)
    assert percentile_range(mixed) == pytest.approx(percentile_range(content), abs=10)


@pytest.mark.parametrize("values", [
    np.r_[np.full(50_000, 100.0), np.full(50_000, 200.0)],
    np.r_[np.full(99_000, 100.0), np.full(1000, 200.0)],
    np.linspace(-5, 5, 1000),
    np.full(9, 3.5),
])  # fmt: skip
def test_the_range_of_few_values_is_that_of_all(values: np.ndarray) -> None:
    low, high = percentile_range(values)
    assert low < high
    assert (low, high) == pytest.approx((values.min(), max(values.max(), values.min() + 1)), abs=0.02)


def test_a_dark_border_is_content_unless_it_is_far_away() -> None:
    """A collimator of an 8-bit scale reaches the black that the picture reaches too."""
    rng = np.random.default_rng(0)
    mixed = np.r_[np.full(8000, 500), rng.integers(800, 2000, 32_000)]
    assert percentile_range(mixed)[0] == 500


# Frames


def test_all_frames_of_a_cine_have_one_range(tmp_path: Path) -> None:
    dim = (STORED // 2).astype(np.uint16)
    path = xa(tmp_path / "a.dcm", np.stack([dim, STORED]))
    low, high = np.percentile(np.r_[dim, STORED], (0.1, 99.9))
    assert np.allclose(grey_of(path, 0), ramp(low, high, dim), atol=1e-3)
    assert np.allclose(grey_of(path, 1), ramp(low, high), atol=1e-3)


def test_enhanced_xa_has_rescale_and_window_by_frame(tmp_path: Path) -> None:
    groups = [
        item(
            PixelValueTransformationSequence=Sequence([item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")]),
            FrameVOILUTSequence=Sequence([item(WindowCenter=centre, WindowWidth=201)]),
        )
        for slope, centre in ((1, 500), (2, 1000))
    ]
    path = xa(
        tmp_path / "a.dcm", np.stack([STORED, STORED]), SOPClassUID=ENHANCED_XA,
        SharedFunctionalGroupsSequence=Sequence([Dataset()]), PerFrameFunctionalGroupsSequence=Sequence(groups),
    )  # fmt: skip
    assert np.allclose(grey_of(path, 0), ramp(399.5, 599.5), atol=1e-6)
    assert np.allclose(grey_of(path, 1), ramp(899.5, 1099.5, STORED * 2.0), atol=1e-6)


@pytest.mark.parametrize("slopes", [(1.0, 0.1), (1.0, 0.5, 0.25)])
def test_enhanced_xa_has_one_range_after_each_frames_own_rescale(tmp_path: Path, slopes: tuple[float, ...]) -> None:
    """The same picture, stored with other slopes, is shown alike."""
    groups = [
        item(
            PixelValueTransformationSequence=Sequence([item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")])
        )
        for slope in slopes
    ]
    path = xa(
        tmp_path / "a.dcm", np.stack([(STORED / slope).round().astype(np.uint16) for slope in slopes]),
        SOPClassUID=ENHANCED_XA, SharedFunctionalGroupsSequence=Sequence([Dataset()]),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )  # fmt: skip
    low, high = np.percentile(STORED, (0.1, 99.9))
    for frame in range(len(slopes)):
        assert np.allclose(grey_of(path, frame), ramp(low, high), atol=2e-3)


@pytest.mark.parametrize("slopes", [(1.0, 0.5), (0.5, 1.0)])
def test_eight_bit_frames_share_one_range_where_any_has_a_rescale(tmp_path: Path, slopes: tuple[float, ...]) -> None:
    """The full range of 8 bits is that of stored values, which are not those of the frame with the rescale."""
    small = STORED // 8  # 37 to 87
    groups = [
        item(
            PixelValueTransformationSequence=Sequence([item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")])
        )
        for slope in slopes
    ]
    path = xa(
        tmp_path / "a.dcm", np.stack([(small / slope).astype(np.uint8) for slope in slopes]), SOPClassUID=ENHANCED_XA,
        SharedFunctionalGroupsSequence=Sequence([Dataset()]), PerFrameFunctionalGroupsSequence=Sequence(groups),
    )  # fmt: skip
    for frame in (0, 1):
        assert np.allclose(grey_of(path, frame), ramp(37, 87, small), atol=1e-6)


def test_a_window_of_one_frame_is_judged_by_that_frame(tmp_path: Path) -> None:
    """The grey range is chosen from 8 of the 20 frames, without frame 1, whose rescale and window are of its own."""
    groups = [
        item(
            PixelValueTransformationSequence=Sequence([item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")]),
            FrameVOILUTSequence=Sequence([item(WindowCenter=500 * slope, WindowWidth=200 * slope + 1)]),
        )
        for slope in (1, 10, *[1] * 18)
    ]
    path = xa(
        tmp_path / "a.dcm", np.stack([STORED] * 19 + [np.full_like(STORED, 300)]), SOPClassUID=ENHANCED_XA,
        SharedFunctionalGroupsSequence=Sequence([Dataset()]), PerFrameFunctionalGroupsSequence=Sequence(groups),
    )  # fmt: skip
    assert np.allclose(grey_of(path, 1), ramp(3999.5, 5999.5, STORED * 10.0), atol=1e-6)
    assert np.allclose(grey_of(path, 0), ramp(399.5, 599.5), atol=1e-6)
    assert not grey_of(path, 19).any(), "a dark frame keeps the window of its cine"
    assert not read_angiogram(path).warnings


def test_a_damaged_frame_with_a_window_of_its_own_does_not_stop_the_choice(tmp_path: Path) -> None:
    """Its pixels are refused when they are asked for; the rule is that of the other frames."""

    def broken() -> np.ndarray:
        raise DataError("a.dcm: frame 0 is damaged.")

    sample = [(STORED[None], Display())]
    far = Display(choices=((Ramp(5000.0, 6000.0), "window 1 of the file"),))
    rule, said = choose_rule(far, lambda: sample, own=broken)
    assert rule.name == "percentiles" and said == ["window 1 of the file clips 100.0 % of the pixels and is not used."]


def test_shared_groups_count_where_frames_have_none(tmp_path: Path) -> None:
    shared = item(FrameVOILUTSequence=Sequence([item(WindowCenter=500, WindowWidth=201)]))
    path = xa(
        tmp_path / "a.dcm", SOPClassUID=ENHANCED_XA, SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence([Dataset()]),
    )  # fmt: skip
    assert np.allclose(grey_of(path), ramp(399.5, 599.5), atol=1e-6)


def test_arrays_follow_the_rule_of_files(tmp_path: Path) -> None:
    frames = np.stack([STORED, STORED[::-1]])
    source, file = Angiogram.from_array(frames), read_angiogram(xa(tmp_path / "a.dcm", frames))
    assert all(np.array_equal(source.grey(index), file.grey(index)) for index in (0, 1))
    small = (STORED // 4).astype(np.uint8)[None]
    assert np.allclose(Angiogram.from_array(small).grey(0).T, small[0] / 255, atol=1e-6)


def test_luminance_is_that_of_bt601_and_alpha_is_left_out() -> None:
    colour = np.array([10, 20, 30, 255], np.uint8).reshape(4, 1, 1)
    assert luminance(colour).item() == pytest.approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30, rel=1e-6)
    assert luminance(np.array([7, 128], np.uint8).reshape(2, 1, 1)).item() == 7


def test_constant_files_are_refused_and_dark_frames_of_a_cine_are_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="constant image, every pixel is 300"):
        grey_of(xa(tmp_path / "a.dcm", np.full_like(STORED, 300)))
    cine = xa(tmp_path / "c.dcm", np.stack([np.full_like(STORED, 300), STORED]))
    assert np.ptp(grey_of(cine, 0)) == 0 and np.ptp(grey_of(cine, 1)) > 0.9


# Attenuation


def test_attenuation_is_linear_in_the_thickness_for_lin_and_log(tmp_path: Path) -> None:
    thickness = np.linspace(0, 2, 2400).reshape(40, 60)
    beam = np.round(60000 * np.exp(-thickness)).astype(np.uint16)
    logarithm = np.round(20000 * (1 + np.log(beam / 65535.0) / 4)).astype(np.uint16)
    for name, stored in (("LIN", beam), ("LOG", logarithm)):
        path = xa(
            tmp_path / f"{name}.dcm", stored, PixelIntensityRelationship=name, WindowCenter=9000, WindowWidth=9000
        )
        found = read_angiogram(path).attenuation(0)
        assert found.proportional and name in found.note
        line = np.polynomial.Polynomial.fit(thickness.ravel(), found.values.T.ravel(), 1)
        assert np.abs(line(thickness) - found.values.T).max() < 2e-3 * np.ptp(found.values)
        assert line.convert().coef[1] > 0


def test_the_sign_of_the_relationship_turns_attenuation(tmp_path: Path) -> None:
    path = xa(tmp_path / "a.dcm", PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=-1)
    found = read_angiogram(path).attenuation(0).values.T
    assert np.array_equal(found, STORED - 300)


@pytest.mark.parametrize("relationship", ["LIN", "LOG"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_is_of_stored_values_and_a_falling_rescale_turns_it(
    sign: int, relationship: str, tmp_path: Path
) -> None:
    stored = STORED if sign == 1 else 1000 - STORED  # the beam is stronger from the first pixel to the last
    stated = {"PixelIntensityRelationship": relationship, "PixelIntensityRelationshipSign": sign}
    path = xa(tmp_path / "a.dcm", stored, **stated, RescaleSlope=-1, RescaleIntercept=1000)
    found = read_angiogram(path).attenuation(0)
    values = found.values.T.ravel()
    assert values[0] > values[-1] and (np.diff(values) <= 0).all()
    # What falls with the intensity has no value that is known to stand for none, on which the logarithm hangs.
    assert found.proportional == (relationship == "LOG" or sign == -1)
    assert ("whose value for none is not stated" in found.note) != found.proportional


@pytest.mark.parametrize("stated", [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}])
@pytest.mark.parametrize("relationship", ["LIN", "LOG"])
def test_without_a_sign_what_is_shown_dark_absorbs(relationship: str, stated: dict[str, str], tmp_path: Path) -> None:
    """MONOCHROME1 shows high values dark; XA images without functional groups have no sign."""
    shown = {"PixelIntensityRelationship": relationship, **stated}
    source = read_angiogram(xa(tmp_path / "a.dcm", **shown))
    found = source.attenuation(0)
    assert found.proportional == (relationship == "LOG")
    assert np.corrcoef(found.values.ravel(), source.grey(0).ravel())[0, 1] < -0.7
    signed = read_angiogram(xa(tmp_path / "b.dcm", **shown, PixelIntensityRelationshipSign=1)).attenuation(0)
    assert signed.values.T[0, 0] > signed.values.T[-1, -1], "a stated sign counts first"


@pytest.mark.parametrize("relationship", ["DISP", "", "LOG_E REL"])
def test_unknown_relationships_give_the_shown_darkness_and_say_so(relationship: str, tmp_path: Path) -> None:
    attributes = {"PixelIntensityRelationship": relationship} if relationship else {}
    found = read_angiogram(xa(tmp_path / "a.dcm", **attributes)).attenuation(0)
    assert not found.proportional and "shown grey" in found.note
    assert np.allclose(found.values.T, 1 - PLAIN, atol=1e-6)


# What other software leaves in headers


def test_a_table_with_too_many_bits_is_shown_by_the_bits_of_its_entries(tmp_path: Path) -> None:
    path = xa(tmp_path / "a.dcm", VOILUTSequence=Sequence([table(250, np.linspace(0, 4095, 500).round(), 16)]))
    expected = np.linspace(0, 4095, 500).round()[STORED.astype(int) - 250] / 4095
    assert np.allclose(grey_of(path), expected, atol=1e-6)


def test_a_window_that_shows_next_to_no_contrast_is_passed_over_and_said(tmp_path: Path) -> None:
    source = read_angiogram(xa(tmp_path / "a.dcm", WindowCenter=32768, WindowWidth=65536))
    assert np.allclose(source.grey(0).T, PLAIN, atol=1e-6)
    assert any("of the grey range and is not used" in line for line in source.warnings)


@pytest.mark.parametrize(
    "attributes", [{"PhotometricInterpretation": "Monochrome1"}, {"PresentationLUTShape": "inverse"}]
)
def test_codes_are_read_in_any_case(attributes: dict[str, Any], tmp_path: Path) -> None:
    assert np.allclose(grey_of(xa(tmp_path / "a.dcm", **attributes)), 1 - PLAIN, atol=1e-6)


def test_colours_called_monochrome1_are_turned(tmp_path: Path) -> None:
    colour = np.stack([(255 - STORED // 4).astype(np.uint8)] * 3, axis=-1)[None]
    path = xa(tmp_path / "a.dcm", colour, PhotometricInterpretation="MONOCHROME1")
    assert np.allclose(grey_of(path), (STORED // 4) / 255, atol=1e-6)


def test_palettes_of_twelve_bits(tmp_path: Path) -> None:
    ramp12 = (np.arange(256) * 16).astype("<u2").tobytes()
    tables = {f"{colour}PaletteColorLookupTableData": ramp12 for colour in ("Red", "Green", "Blue")}
    told = {f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 12] for colour in ("Red", "Green", "Blue")}
    small = (STORED // 4).astype(np.uint8)
    path = xa(tmp_path / "a.dcm", small, PhotometricInterpretation="PALETTE COLOR", **told, **tables)
    assert np.allclose(grey_of(path), ramp(*np.percentile(small, (0.1, 99.9)), small), atol=1e-5)


def test_large_whole_numbers_keep_their_differences() -> None:
    large = (STORED.astype(np.uint64) + 2**60)[None]
    found = Angiogram.from_array(large * np.uint64(1)).grey(0)
    assert np.isfinite(found).all()
    wide = (STORED.astype(np.int32) + 2**30)[None]
    assert np.allclose(Angiogram.from_array(wide).grey(0).T, PLAIN, atol=1e-5)


def test_decompressed_files_that_keep_the_old_words(tmp_path: Path) -> None:
    small = (STORED // 4).astype(np.uint8)
    ybr = np.stack([small, np.full_like(small, 128), np.full_like(small, 128)], axis=-1)[None]
    path = xa(tmp_path / "y.dcm", ybr, PhotometricInterpretation="YBR_FULL_422")
    source = read_angiogram(path)
    assert source.frames == 1 and np.allclose(source.grey(0).T, small / 255, atol=0.02)
    assert any("YBR_FULL" in line for line in source.warnings)
    wide = read_angiogram(xa(tmp_path / "b.dcm", STORED, BitsAllocated=8, BitsStored=12, HighBit=11))
    assert wide.frames == 1 and np.allclose(wide.grey(0).T, PLAIN, atol=1e-6)
