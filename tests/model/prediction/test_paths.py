from pathlib import Path, PurePath

import pytest

from ground.errors import DatasetError
from model.prediction.paths import find_pictures, output_names


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.PNG", "notes.txt", "sub/c.tif", "sub/deep/d.webp", ".thumbs/e.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "photos/.hidden.jpg").touch()
    return tmp_path / "photos"


def paths_of(*arguments):
    return [str(picture.path) for picture in find_pictures(arguments)]


def test_a_folder_gives_all_pictures_below_it_by_name(photos):
    expected = ["photos/a.PNG", "photos/b.jpg", "photos/sub/c.tif", "photos/sub/deep/d.webp"]
    assert paths_of("photos") == expected
    assert [str(p.below) for p in find_pictures(["photos"])][2:] == ["sub/c.tif", "sub/deep/d.webp"]


def test_what_is_named_twice_counts_once(photos):
    assert paths_of("photos/b.jpg", "photos", "./photos/b.jpg").count("photos/b.jpg") == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "photos/*",
            ["photos/a.PNG", "photos/b.jpg", "photos/sub/c.tif", "photos/sub/deep/d.webp"],
        ),
        ("photos/**/*.[tw]*", ["photos/sub/c.tif", "photos/sub/deep/d.webp"]),
        ("photos/?.jpg", ["photos/b.jpg"]),
    ],
)
def test_a_pattern_gives_the_pictures_that_fit(photos, pattern, expected):
    assert paths_of(pattern) == expected


def test_a_file_with_a_name_like_a_pattern_is_a_file(photos):
    (photos / "x[1].jpg").touch()
    assert paths_of("photos/x[1].jpg") == ["photos/x[1].jpg"]


def test_a_link_back_ends_the_way_down(photos):
    (photos / "sub/back").symlink_to("..")
    (photos / "other").symlink_to("sub/deep")
    found = paths_of("photos")
    assert "photos/other/d.webp" in found
    assert len(found) == 5


@pytest.mark.parametrize("argument", ["photos/.thumbs/..", "photos/sub", "nothing/*.jpg"])
def test_nothing_found_is_one_line_that_names_it(photos, argument):
    for path in (photos / "sub/c.tif", photos / "sub/deep/d.webp", photos / "a.PNG"):
        path.unlink()
    (photos / "b.jpg").unlink()
    with pytest.raises(DatasetError, match=r"pictures|fits no picture") as error:
        find_pictures([argument])
    assert argument in str(error.value)


def test_a_missing_file_is_left_to_the_reader(photos):
    assert paths_of("absent.jpg") == ["absent.jpg"]


@pytest.mark.parametrize(
    ("pictures", "names"),
    [
        (["a.png", "a.jpg", "b/a.png"], ["a.jpg", "a-2.jpg", "b/a.jpg"]),
        (["x.jpg/y.png", "x.png"], ["x.jpg/y.jpg", "x-2.jpg"]),
        (["detections.json/y.png"], ["detections.json-pictures/y.jpg"]),
        (["a-2.png", "a.png", "a.gif"], ["a-2.jpg", "a.jpg", "a-3.jpg"]),
    ],
)
def test_drawn_pictures_have_names_of_their_own(pictures, names):
    assert output_names([PurePath(p) for p in pictures], ["detections.json"]) == names
    assert not {str(Path(n).parent) for n in names} & set(names)
