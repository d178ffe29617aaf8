"""Pictures that are the same are found, by their files and by how they look."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from components.coco_transform.likeness import (
    NEAR_BITS,
    Pictures,
    look_alikes,
    pictures_of,
    read_hashes,
    same_files,
    write_hashes,
)
from components.coco_transform.picture_hash import NO_HASH, picture_hash


def jpeg(picture, quality=95):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def scene(seed):
    """A picture of large smooth spots, as most are."""
    random = np.random.default_rng(seed)
    spots = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(spots).resize((320, 240), Image.Resampling.BICUBIC)


def bits(one, other):
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: jpeg(picture, 30),
        lambda picture: jpeg(picture.resize((160, 120))),
        lambda picture: jpeg(ImageEnhance.Brightness(picture).enhance(0.8)),
        lambda picture: jpeg(picture.convert("L")),
    ],
)
def test_hash_stays_where_a_picture_looks_the_same(change):
    for seed in range(20):
        assert bits(picture_hash(jpeg(scene(seed))), picture_hash(change(scene(seed)))) <= NEAR_BITS


def test_other_pictures_have_other_hashes():
    hashes = [picture_hash(jpeg(scene(seed))) for seed in range(40)]
    apart = [bits(a, b) for n, a in enumerate(hashes) for b in hashes[:n]]
    assert min(apart) > 3 * NEAR_BITS


def test_picture_with_nothing_to_see_or_damaged_has_none():
    assert picture_hash(jpeg(Image.new("RGB", (100, 100), "navy"))) == NO_HASH
    assert picture_hash(b"nothing") == NO_HASH
    assert picture_hash(jpeg(scene(1))[:300]) == NO_HASH


def shape_on(ground, seed):
    """An ellipse or a rectangle of 20 to 90 px somewhere on a plain ground."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (640, 480), ground)
    draw = ImageDraw.Draw(picture)
    (width, height), (x, y) = random.integers(20, 91, 2), random.integers(0, (550, 390))
    form = draw.ellipse if random.random() < 0.5 else draw.rectangle
    corners = [int(x), int(y), int(x + width), int(y + height)]
    form(corners, fill=tuple(random.integers(0, 256, 3).tolist()))
    return picture


@pytest.mark.parametrize("ground", ["white", "black", "grey"])
def test_single_objects_on_a_plain_ground_are_not_alike(ground):
    look = [picture_hash(jpeg(shape_on(ground, seed))) for seed in range(60)]
    assert look_alikes(pictures([0, 1] * 30, look)).pairs == []


def test_object_that_fills_a_plain_picture_keeps_its_hash():
    picture = Image.new("RGB", (640, 480), "white")
    picture.paste(scene(3).resize((400, 360)), (120, 60))
    one, other = picture_hash(jpeg(picture)), picture_hash(jpeg(picture.resize((320, 240)), 40))
    assert one != NO_HASH
    assert bits(one, other) <= NEAR_BITS


@pytest.mark.parametrize("data", ["coco_tiny", "blood_cells"])
def test_photos_have_a_hash_that_their_copies_share(data, shared_data):
    files = sorted((shared_data / data).rglob("*.jpg"))[:60]
    assert files
    is_alike = []
    for path in files:
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        one = picture_hash(jpeg(photo))
        small = photo.resize((photo.width // 2, photo.height // 2))
        copies = [picture_hash(copy) for copy in (jpeg(photo, 30), jpeg(small))]
        assert NO_HASH not in (one, *copies)
        is_alike += [bits(one, copy) <= NEAR_BITS for copy in copies]
    assert np.mean(is_alike) > 0.9  # as before: half as large, a few are further away


def words(*hashes):
    return np.asarray(hashes, np.uint64).reshape(-1, 2)


def pictures(split, look):
    number = len(split)
    content = np.random.default_rng(0).integers(0, 2**62, (number, 2)).astype(np.uint64)
    return Pictures(np.asarray(split), np.arange(number) + 100, content, words(*look))


def test_pairs_that_look_alike_are_those_of_every_pair_compared():
    random = np.random.default_rng(1)
    look = random.integers(0, 2**63, (300, 2)).astype(np.uint64)
    for n in range(0, 60, 2):  # n / 4 bits are turned
        flipped = random.choice(63, n // 4, replace=False)
        look[n + 1] = look[n]
        for bit in flipped:
            look[n + 1, bit % 2] ^= np.uint64(1 << int(bit))
    split = np.arange(300) % 2
    found = look_alikes(Pictures(split, np.arange(300), look, look))
    expected = {
        (bits(map(int, look[i]), map(int, look[j])), i, j)
        for i in range(300)
        for j in range(i + 1, 300)
    }
    assert set(found.pairs) == {pair for pair in expected if pair[0] <= NEAR_BITS}
    assert len(found.pairs) > 10
    assert found.pairs == sorted(found.pairs)
    assert found.is_complete
    twins = {i for pair in found.pairs for i in pair[1:]}
    assert set(np.flatnonzero(found.has_twin.any(axis=1)).tolist()) == twins
    one = found.pairs[0]
    assert found.has_twin[one.one, split[one.other]]


def test_very_many_alike_are_told_apart_by_split_and_said_to_be_cut():
    found = look_alikes(pictures(np.arange(2000) % 2, [(5, 9)] * 2000))
    assert found.has_twin.all()
    assert not found.is_complete
    assert len(found.pairs) <= 12_000


def test_of_a_great_many_pairs_those_across_splits_are_kept():
    split = np.zeros(30_000, np.int64)
    split[::1000] = 1
    found = look_alikes(pictures(split, [(5, 9)] * len(split)))
    assert len(found.pairs) < 20_000
    across = sum(split[pair.one] != split[pair.other] for pair in found.pairs)
    assert across >= 50  # each of the 30 and its two neighbours, but for those at the ends


def test_pictures_without_a_hash_are_like_none():
    found = look_alikes(pictures([0, 0, 1], [(0, 0), (0, 0), (0, 0)]))
    assert found.pairs == []
    assert not found.has_twin.any()
    empty = look_alikes(pictures_of({}, {}))
    assert empty.pairs == []
    assert empty.is_complete


def test_same_files_are_found_across_splits_alone(tmp_path):
    sums = ["a" * 64, "b" * 64, "c" * 64]
    write_hashes(tmp_path / "x" / "1.npy", [(sums[0], (1, 2)), (sums[1], (3, 2**64 - 1))])
    write_hashes(tmp_path / "x" / "2.npy", [(sums[1], (0, 0)), (sums[2], (0, 0))])
    write_hashes(tmp_path / "x" / "3.npy", [])
    hashes = {
        "train": read_hashes([tmp_path / "x" / "1.npy", tmp_path / "x" / "3.npy"]),
        "eval": read_hashes([tmp_path / "x" / "2.npy"]),
    }
    found = pictures_of({"train": np.asarray([7, 8]), "eval": np.asarray([7, 9])}, hashes)
    assert found.look.tolist()[1] == [3, 2**64 - 1]
    assert same_files(found, 1, 0) == [(2, 1)]
    assert same_files(found, 0, 1) == [(1, 2)]


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (640, 480)),
        Image.new("RGB", (640, 480), "white"),
        Image.new("RGB", (1, 1), "red"),
        Image.new("L", (1, 3000), 255),
        Image.new("CMYK", (9, 9)),
    ],
    ids=["black", "white", "one pixel", "a line", "cmyk"],
)
def test_plain_pictures_of_any_size_and_mode_have_no_hash(picture):
    assert picture_hash(jpeg(picture)) == NO_HASH


def ramp(down, along):
    """A picture that gets brighter or darker all the way down, and along."""
    step = np.arange(16)
    values = 128 + 7 * (down * step[:, None] + along * step[None]) / 2
    return Image.fromarray(values.astype(np.uint8)).resize((320, 320), Image.Resampling.BILINEAR)


@pytest.mark.parametrize(("down", "along"), [(-1, -1), (1, 1), (-1, 1), (1, -1)])
def test_picture_that_gets_darker_or_brighter_all_the_way_has_a_hash(down, along):
    one = picture_hash(jpeg(ramp(down, along)))
    assert one != NO_HASH
    assert bits(one, picture_hash(jpeg(ramp(down, along).resize((90, 90)), 60))) <= NEAR_BITS
    assert bits(one, picture_hash(jpeg(ramp(-down, -along)))) > 100
    found = look_alikes(pictures([0, 1], [one, one]))
    assert [(pair.one, pair.other) for pair in found.pairs] == [(0, 1)]


def test_copies_within_a_split_and_of_it_in_several_are_twins_where_they_are():
    look = [(1, 2), (1, 2), (2**64 - 1, 2**64 - 1), (1, 2)]
    found = look_alikes(pictures([0, 0, 0, 2], look))
    assert {(pair.one, pair.other) for pair in found.pairs} == {(0, 1), (0, 3), (1, 3)}
    assert found.has_twin.tolist() == [
        [True, False, True],
        [True, False, True],
        [False, False, False],
        [True, False, False],
    ]
