"""The report as a desktop and a phone show it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from components.coco_evaluator.evaluation import evaluate_to_folder
from components.coco_evaluator.judgement import Detected, Pushed
from components.coco_evaluator.report.render import _picture
from configs.schema import EvaluateConfig
from model.evaluation.ground_truth import GroundTruth
from model.pictures import read_picture
from tests.browser import DESKTOP, PHONE, Page, Screen
from tests.components.coco_evaluator.test_refused_class import (
    DOG,
    SETTINGS,
    TOOTHBRUSH,
    SyntheticSource,
    detections,
)

SCREENS = pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
LONG = "a class with a very long name <b>& marks</b> that goes on and on and on"
Open = Callable[..., Page]


class PicturedSource(SyntheticSource):
    """Its pictures are there, its objects have masks, and one class has a name to stumble over."""

    has_pictures = True

    def __init__(self, folder: Path) -> None:
        super().__init__()
        truth = self.ground_truth
        categories = [c | {"name": LONG} if c["id"] == DOG else dict(c) for c in truth.categories]
        self.ground_truth = GroundTruth(
            truth.images, [with_mask(a) for a in truth.annotations], categories
        )
        self.path = folder / "picture.png"
        Image.new("RGB", (400, 400), (90, 120, 90)).save(self.path)

    def pictures(self, image_ids, max_pixels, on_failure):
        for image in self.ground_truth.images:
            if image["id"] in image_ids:
                yield image, read_picture(str(self.path), max_pixels)


def with_mask(entry: dict) -> dict:
    x, y, width, height = entry["bbox"]
    right, bottom = x + width, y + height
    shape = [[x, y, right, y, right, bottom, x, bottom]]
    code = coco_mask.merge(coco_mask.frPyObjects(shape, 400, 400))
    return entry | {"segmentation": {"size": [400, 400], "counts": code["counts"].decode()}}


def model(source: SyntheticSource, seed: int, found: dict[int, float]) -> Detected:
    return Detected(
        title="cells",
        model_id=f"{seed}" * 40,
        detections=[with_mask(d) for d in detections(source, seed, found)],
        kinds=("box", "mask"),
        model_digest=f"{seed}" * 64,
        categories=tuple(source.ground_truth.categories),
        costs={"size_mb": 51.2, "latency_p50_ms": 40.0},
        description={"created": "today", "training": {"steps": 500, "digest": "0" * 64}},
        config={"model": {"mask_head": {}}},
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The reports of a first model, and of one whose mean is better and one class worse."""
    folder = tmp_path_factory.mktemp("reports")
    source = PicturedSource(folder)
    first = model(source, 0, {DOG: 0.7, TOOTHBRUSH: 0.5})
    second = model(source, 1, {DOG: 0.35, TOOTHBRUSH: 0.95})
    settings = SETTINGS.model_copy(update={"resamples": 250})
    for name, candidate, baseline in (("first", first, None), ("second", second, first)):
        (folder / name).mkdir()
        evaluate_to_folder(source, candidate, Pushed(baseline), settings, folder / name)
    return SimpleNamespace(first=folder / "first/report.html", second=folder / "second/report.html")


@SCREENS
@pytest.mark.parametrize("is_dark", [False, True], ids=["day", "night"])
def test_it_fits_and_has_no_errors(
    open_page: Open, reports: SimpleNamespace, screen: Screen, is_dark: bool
) -> None:
    page = open_page(reports.second, screen, is_dark=is_dark)
    assert (page.errors, page.too_wide()) == ([], [])
    for part in (
        ".verdict *",
        ".conditions *",
        ".changes td",
        ".losses *",
        "#numbers ~ .scroll td",
    ):
        assert page.count(part) and page.out_of_view(part) == [], part
    links = page.run("[...document.querySelectorAll('nav a')].map((a) => a.hash)")
    assert len(links) == 11 and all(page.count(link) == 1 for link in links)


def test_markup_is_markup_and_names_are_names(open_page: Open, reports: SimpleNamespace) -> None:
    page = open_page(reports.second)
    assert "&#34;" not in reports.second.read_text().split("<script")[0]
    assert page.count("tr.main") == 2 and page.count("b") == page.count("li b")
    assert LONG in page.texts("#classes ~ .scroll td.name")


@SCREENS
def test_the_verdict_says_what_the_mean_hides(
    open_page: Open, reports: SimpleNamespace, screen: Screen
) -> None:
    verdict = open_page(reports.second, screen).text(".verdict")
    assert verdict.startswith("Not blessed")
    assert "above the pushed model's" in verdict
    assert f"Fallen more than by chance: box AP of {LONG} by 0." in verdict
    assert "Most box AP50 is lost by" in verdict


def test_what_was_not_compared_has_no_tick(open_page: Open, reports: SimpleNamespace) -> None:
    lines = open_page(reports.first).texts(".conditions li")
    assert [line[0] for line in lines] == ["✓", "–", "–", "–"]
    for line in lines[1:]:
        assert "has no baseline to be compared with, so this decides nothing" in line


@SCREENS
def test_wanted_precision_changes_the_scores(
    open_page: Open, reports: SimpleNamespace, screen: Screen
) -> None:
    page = open_page(reports.second, screen)
    before = page.texts("#score-table td:nth-child(5)")
    analysis = json.loads((reports.second.parent / "analysis.json").read_text())
    point = analysis["scores"]["toothbrush"]["precision_0.9"]
    assert point is not None and abs(float(before[1]) - point["score"]) < 0.02
    page.fill("#precision", "0.3")
    page.fill("#recall", "0.3")
    after = page.texts("#score-table td:nth-child(5)")
    assert float(after[1]) <= float(before[1]) and before != after
    assert float(page.texts("#score-table td:nth-child(7)")[1]) > 0.1


def test_a_click_sorts_the_classes(open_page: Open, reports: SimpleNamespace) -> None:
    page = open_page(reports.second)
    column = "table.sortable td:nth-child(5)"
    page.click("table.sortable th:nth-child(5)")
    falling = page.texts(column)
    page.click("table.sortable th:nth-child(5)")
    assert page.texts(column) == falling[::-1] and falling[0] > falling[1]


def test_it_shows_worst_pictures_cost_and_lineage(
    open_page: Open, reports: SimpleNamespace
) -> None:
    page = open_page(reports.second)
    assert page.count(".pair img") == 2 * EvaluateConfig().worst_pictures
    assert "51.2 MB" in page.texts("#costs + dl dd")
    assert {"Created", "Training, steps"} <= set(page.texts("#made + dl dt"))
    page.click("details:last-of-type summary")
    assert '"mask_head"' in page.text("details:last-of-type pre")


def test_a_picture_that_pillow_cannot_decode_is_not_shown(tmp_path: Path) -> None:
    image = {"id": 1, "height": 400, "width": 400}
    whole = read_picture(str(PicturedSource(tmp_path).path))
    broken = dataclasses.replace(whole, encoded=whole.encoded[:60])
    for shown, pictures in (((400, 400), {1: whole}), (None, {1: broken}), (None, {2: whole})):
        found = _picture(SimpleNamespace(pictures=pictures), image)
        assert (found and found.size) == shown
