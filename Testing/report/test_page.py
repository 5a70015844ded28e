"""The pages: complete, escaped, without anything that loads or runs."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from makers.analyses import make_analysis

from casr_net.report.measurements import RESEARCH, Analysis
from casr_net.report.page import TOLD, index_page, index_row, report_page
from casr_net.report.pictures import width_range
from casr_net.report.svg import COLOURS, colour, runs, ticks


class Page(HTMLParser):
    """Elements and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def has_nan(text: str) -> bool:
    return re.search(r"\bnan\b", re.sub(r"base64,[\w+/=]+", "", text), re.IGNORECASE) is not None


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return make_analysis()


@pytest.fixture(scope="module")
def page(analysis: Analysis) -> str:
    return report_page(analysis, "No object.", "2026-01-01")


def test_nothing_is_loaded_and_nothing_runs(page: str) -> None:
    found = Page(page)
    assert not found.all("script") and not found.all("link") and not found.all("iframe")
    links = [value for _, attributes in found.tags for key, value in attributes.items() if key in ("href", "src")]
    assert links and all(str(link).startswith(("#", "data:image/png;base64,")) for link in links)
    assert not re.search(r"url\(|@import|\son\w+=|\sstyle=|https?:", page)


def test_policy_allows_the_style_of_the_page_and_no_other(page: str) -> None:
    policy = next(meta["content"] for meta in Page(page).all("meta") if "http-equiv" in meta)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy and style and policy.startswith("default-src 'none'; img-src data:")
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy and "unsafe" not in policy


def test_what_comes_from_outside_is_escaped(analysis: Analysis) -> None:
    evil = "<script>alert(1)</script>&\"'"
    text = report_page(
        replace(analysis, warnings=(evil,), methods={evil: evil}, source=replace(analysis.source, name=evil)), evil
    )
    assert "<script>" not in text and text.count("&lt;script&gt;") >= 5
    assert not Page(text).all("script")


def test_it_tells_everything(page: str, analysis: Analysis) -> None:
    words = " ".join(Page(page).words)
    assert words.count(RESEARCH) == 2  # head and foot
    lesion = analysis.lesions[0][1]
    for text in (f"{lesion.mld * 0.25:.2f} mm", "50 %", "38 to 58 %", "crossing", "Pixel size as stated by the user.",
                 "A warning <with> markup & more.", "probability of 90 %", "best opacified", "No object."):  # fmt: skip
        assert text in words, text


def test_pictures_have_names_and_headings_are_in_order(page: str) -> None:
    found = Page(page)
    pictures = [attributes for attributes in found.all("svg") if attributes.get("role") == "img"]
    assert len(pictures) == len(found.all("svg")) == len(found.all("title")) - 1  # one is the page's
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert found.all("html")[0]["lang"] == "en"
    assert all(row.get("scope") for row in found.all("th"))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_without_scale_everything_is_in_pixels() -> None:
    text = report_page(make_analysis(None), "No object.")
    words = " ".join(Page(text).words)
    assert not re.search(r"\d mm\b", words)
    assert "millimetres are never guessed" in words and "not known" in words


def test_without_lesions_curve_or_doubt(analysis: Analysis) -> None:
    bare = replace(
        analysis, paths=tuple(replace(path, lesions=()) for path in analysis.paths),
        frame=replace(analysis.frame, curve=None),
    )  # fmt: skip
    words = " ".join(Page(report_page(bare, "No object.")).words)
    assert "No narrowing was found on the measured paths." in words
    assert "Contrast over the cine" not in words and "No intervals were asked for" in words


def test_of_many_narrowings_the_first_are_told_in_full(analysis: Analysis) -> None:
    path = analysis.paths[0]
    many = tuple(replace(path.lesions[0], rank=rank) for rank in range(1, 26))
    found = Page(report_page(replace(analysis, paths=(replace(path, lesions=many), analysis.paths[1])), ""))
    kinds = [str(attributes.get("class")) for attributes in found.all("svg")]
    assert kinds.count("detail") == TOLD and len(found.all("details")) == 1
    assert len([1 for circle in found.all("circle") if circle.get("class") == "further"]) == 26 - TOLD
    words = " ".join(found.words)
    assert "16 further narrowings" in words and "1 of them unsure" in words
    targets = {str(link["href"]) for link in found.all("a")}
    assert {target[1:] for target in targets} <= {attributes.get("id") for _, attributes in found.tags}


def test_widths_that_are_not_known_leave_gaps(analysis: Analysis) -> None:
    path = analysis.paths[0]
    diameter = path.widths.diameter.copy()
    diameter[20:40] = np.nan
    gap = replace(analysis, paths=(replace(path, widths=replace(path.widths, diameter=diameter)),))
    assert not has_nan(report_page(gap, ""))
    nothing = replace(path, widths=replace(path.widths, diameter=np.full(len(diameter), np.nan)), lesions=())
    assert not has_nan(report_page(replace(analysis, paths=(nothing,)), ""))


def test_index_links_and_names_failures(analysis: Analysis) -> None:
    row = index_row(analysis.as_dict(), "odd name #1?/report.html")
    text = index_page([row, {"name": "input-0002", "error": "cut <off>"}])
    found = Page(text)
    assert [link["href"] for link in found.all("a")] == ["odd%20name%20%231%3F/report.html"]
    words = " ".join(found.words)
    assert "cut <off>" in words and "1 of them could not be measured" in words and words.count(RESEARCH) == 2
    assert "50 %" in words and "38 to 58 %" in words


def test_colours_and_ticks() -> None:
    assert (colour(0, 0, 10), colour(10, 0, 10), colour(-5, 0, 10), colour(float("nan"), 0, 1)) == (
        0, len(COLOURS) - 1, 0, 0,
    )  # fmt: skip
    assert runs([1, 1, 2, 2, 1]) == [(1, 0, 2), (2, 2, 4), (1, 4, 4)]
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10] and ticks(0.3, 0.9) == [0.4, 0.6, 0.8] and ticks(2, 2) == [2]
    low, high = width_range(make_analysis())
    assert 0 < low < high < 30
