"""What a picture file is, and each way in which it cannot be used."""

import io

import numpy as np
import pytest
from PIL import Image

from model.encoded.check import inspect
from model.encoded.decoder import check_decodes
from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import opened, rgb, upright_jpeg
from model.input.resize import decode_picture
from tests.components.coco_example_gen.small_dataset import jpeg
from tests.picture_zoo import HEIGHT, UNREADABLE, WIDTH, exif, pixels, png, saved, turn, zoo

ZOO = zoo()
USED = ("", "picture_without_end", "picture_metadata_damaged")


def verdict(content):
    """Returns (reason codes, details, the facts or None) of CocoExampleGen's check."""
    try:
        facts = inspect(content, 10**6)
        flaws = facts.flaws
        if "picture_damaged" not in dict(flaws):
            check_decodes(facts)
    except PictureFlaw as flaw:
        return flaw.code, flaw.detail, None
    return ",".join(code for code, _ in flaws), ",".join(d for _, d in flaws), facts


@pytest.mark.parametrize("name", ZOO)
def test_each_file_comes_to_its_end(name):
    content, expected = ZOO[name]
    code, detail, facts = verdict(content)
    assert code == expected, detail
    assert bool(detail) == bool(expected)
    assert "\n" not in detail and len(detail) < 200 and ".py" not in detail
    if facts is not None and expected in USED:
        high = (facts.height, facts.width)
        assert high == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", [name for name, (_, code) in ZOO.items() if code in USED])
def test_what_is_used_has_the_same_pixels_for_training_serving_and_pillow(name):
    _, _, facts = verdict(ZOO[name][0])
    tensorflow = decode_picture(facts.content).numpy().astype(int)
    pillow = np.asarray(rgb(opened(facts.content))).astype(int)
    assert np.abs(tensorflow - pillow).max() <= 1
    if "CMYK" not in name and "YCCK" not in name and "Adobe" not in name:
        grey = "grey" in name or "bits" in name or "palette" in name
        assert grey or np.abs(tensorflow - pixels()).mean() < 12


def test_sound_file_is_stored_as_it_is():
    for name, (content, code) in ZOO.items():
        if not code:
            assert verdict(content)[2].content is content, name


def test_mended_file_differs_by_its_end_alone():
    content, _ = ZOO["JPEG: no end marker"]
    assert verdict(content)[2].content == content + b"\xff\xd9"
    content, _ = ZOO["PNG: half an end chunk"]
    assert verdict(content)[2].content == content[:-7] + ZOO["PNG: plain"][0][-12:]


def test_shared_pictures_are_all_sound(shared_data):
    paths = [*shared_data.glob("coco_tiny/*2017/*.jpg"), *shared_data.glob("nuclei/val/*.png")]
    assert len(paths) == 170
    for path in paths:
        assert verdict(path.read_bytes())[0] == "", path


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["JPEG: plain", "PNG: plain", "JPEG: progressive"])
def test_cut_off_file_is_unreadable_wherever_it_is_cut(name, kept):
    content = ZOO[name][0]
    code, detail, _ = verdict(content[: max(8, int(kept * len(content)))])
    assert code == UNREADABLE
    assert detail.startswith("cut off")


def test_too_many_pixels_are_found_before_decoding():
    for content in (saved("JPEG"), saved("PNG"), png(b"", size=(60_000, 60_000))):
        with pytest.raises(PictureFlaw) as error:
            inspect(content, 3071)
        assert error.value.code == "picture_too_large"
        assert error.value.detail.endswith("pixels exceed data.max_picture_pixels 3071")


def test_pillows_own_limit_counts_for_nothing(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert verdict(saved("JPEG"))[0] == ""
    assert rgb(opened(saved("PNG"))).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 60_000), (60_000, 1), (8, 8), (1, 7), (9, 1)]
)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_extreme_shapes_are_sound(form, height, width):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(stream, form)
    code, _, facts = verdict(stream.getvalue())
    assert (code, facts.height, facts.width) == ("", height, width)


def test_png_turn_is_read_from_its_exif_chunk():
    facts = inspect(saved("PNG", exif=exif(turn(8))), 10**6)
    assert (facts.orientation, facts.upright_size) == (8, (WIDTH, HEIGHT))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_picture_has_the_pixels_of_the_turn(orientation):
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32] = 255  # the upper left quarter is white
    backwards = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, 1),  # 6 asks for a quarter turn clockwise
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p, -1),
    }[orientation]
    stream = io.BytesIO()
    stored = Image.fromarray(np.ascontiguousarray(backwards(upright)))
    stored.save(stream, "JPEG", exif=b"Exif\0\0" + exif(turn(orientation)))
    facts = inspect(stream.getvalue(), 10**6)
    assert facts.orientation == orientation
    facts = inspect(upright_jpeg(facts.content, orientation), 10_000)
    assert facts[:4] == ("jpeg", 32, 64, 1)
    shown = np.asarray(Image.open(io.BytesIO(facts.content)).convert("L")).astype(int)
    assert abs(shown - upright[..., 0]).mean() < 2


def test_sixteen_bit_grey_is_turned_with_its_high_byte():
    values = np.full((8, 16), 0x80FF, np.uint16)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG", exif=exif(turn(6)))
    turned = decode_picture(upright_jpeg(stream.getvalue(), 6)).numpy()
    assert turned.shape == (16, 8, 3)
    assert np.abs(turned.astype(int) - 0x80).max() <= 1


def test_exif_of_small_dataset_is_read():
    assert inspect(jpeg(40, 60, orientation=6), 10**6)[:4] == ("jpeg", 40, 60, 6)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("GIF", "a GIF; expected a JPEG or PNG"),
        ("HEIC", "a HEIC, AVIF or video file, as phones make them; expected a JPEG or PNG"),
        ("JPEG 2000", "a JPEG 2000; expected a JPEG or PNG"),
        ("gzip", "a packed file (gzip); expected a JPEG or PNG"),
        ("three bytes", "an unknown format (starts with 616263); expected a JPEG or PNG"),
    ],
)
def test_another_format_is_named(name, said):
    assert verdict(ZOO[f"other: {name}"][0])[1] == said
