import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from model import drawing
from model.drawing import Mark, class_colour, draw

RED = (255, 0, 0)


@pytest.fixture
def grey():
    return Image.new("RGB", (200, 100), (128, 128, 128))


def changed(picture, before):
    return (np.asarray(picture) != np.asarray(before)).any(axis=-1)


def test_a_box_is_drawn_on_its_edges_only(grey):
    drawn = np.asarray(draw(grey, [Mark([20, 30, 50, 40], RED)]))

    assert (drawn[30, 20:71] == RED).all()
    assert (drawn[70, 20:71] == RED).all()
    assert (drawn[30:71, 70] == RED).all()
    assert (drawn[40:60, 30:60] == 128).all()


def test_a_dashed_box_has_gaps(grey):
    top = np.asarray(draw(grey, [Mark([20, 30, 100, 40], RED, is_dashed=True)]))[30, 20:121]

    share = (top == RED).all(axis=-1).mean()
    assert 0.4 < share < 0.9


def test_a_mask_is_blended_where_it_is(grey):
    inside = np.zeros((100, 200), np.uint8, order="F")
    inside[40:50, 60:80] = 1
    drawn = draw(grey, [Mark([0, 0, 0, 0], RED, mask=coco_mask.encode(inside))])

    # 128 * 0.55 + 255 * 0.45 = 185.15 and 128 * 0.55 = 70.4
    assert np.asarray(drawn)[45, 70].tolist() == [185, 70, 70]
    assert np.asarray(drawn)[45, 90].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    "box", [[0, 0, 30, 30], [190, 90, 10, 10], [-5, -5, 20, 20], [150, 2, 40, 9]]
)
def test_a_label_stays_on_the_picture(grey, box):
    with_label = draw(grey, [Mark(box, RED, "toothbrush 0.93")])
    label = changed(with_label, draw(grey, [Mark(box, RED)]))

    # All of a label's area is on the picture: as much as that of a label in the middle.
    middle = [80, 50, 30, 30]
    expected = changed(
        draw(grey, [Mark(middle, RED, "toothbrush 0.93")]), draw(grey, [Mark(middle, RED)])
    )
    assert label.sum() > 0.9 * expected.sum()


def test_the_picture_itself_is_left_alone(grey):
    before = grey.copy()
    draw(grey, [Mark([20, 30, 50, 40], RED, "x")])
    assert not changed(grey, before).any()


def test_colours_of_classes_differ():
    colours = {class_colour(label) for label in range(1, 81)}
    assert len(colours) == 80


def test_marks_follow_a_picture_that_is_scaled(grey):
    drawn = np.asarray(draw(grey, [Mark([20, 30, 50, 40], RED)], long_side_px=400))

    assert drawn.shape == (200, 400, 3)
    assert (drawn[60, 40:141] == RED).all()
    assert (drawn[80:130, 60:120] == 128).all()


@pytest.mark.parametrize("names", ["Größe Grüße", "жук бук", "łoś łez", "αβ αγ", "é è"])
def test_names_are_told_apart_by_their_own_letters(grey, names):
    first, second = (
        np.asarray(draw(grey, [Mark([20, 30, 50, 40], RED, label)])) for label in names.split()
    )
    assert (first != second).any()
    nothing = draw(grey, [Mark([20, 30, 50, 40], RED, "\u4e00" * len(names.split()[0]))])
    assert (first != np.asarray(nothing)).any()


def test_no_letter_of_europe_is_an_empty_box():
    font = drawing._font(20)
    missing = bytes(font.getmask("\ue123"))
    for letter in "äöüÄÖÜßéèçñåøæłżščőбвгджЖЯ°µ":
        assert bytes(font.getmask(letter)) != missing
