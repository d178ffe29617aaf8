import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.encoded.exif import orientation
from tests.picture_zoo import exif, turn

RATIONAL_TITLE = (0x010E, 5, 1, b"\0\0\0\x26")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (exif(turn(6)), 6),
        (exif(RATIONAL_TITLE, turn(6)), 6),  # of an unusual type beside it
        (exif((0x010E, 99, 2**31, b"????"), turn(3)), 3),
        (exif((0x0112, 4, 1, struct.pack(">I", 8))), 8),  # a long
        (exif((0x0112, 1, 1, b"\5")), 5),  # a byte
        (exif(turn(6), turn(3)), 6),  # twice: the first counts
        (b"Exif\0\0" + exif(turn(6)), 6),
        (b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 6),
        (exif((0x0112, 2, 2, b"6\0")), 1),  # text
        (exif((0x0112, 5, 1, b"\0\0\0\x1a")), 1),  # a rational
        (exif(turn(0)), 1),
        (exif(turn(9)), 1),
        (exif(), 1),
        (b"", 1),
        (b"MM", 1),
        (b"XX" + exif(turn(6))[2:], 1),
        (exif(turn(6))[:15], 1),  # cut off
        (b"MM\0*\0\0\0\x08\xff\xff", 1),  # 65,535 entries that are not there
        (b"MM\0*\xff\xff\xff\xff", 1),  # a directory that is not there
        (b"MM\0*\0\0\0\0" + exif(turn(6))[8:], 1),  # a directory that is its own header
    ],
)
def test_only_a_plain_orientation_counts(block, expected):
    assert orientation(block) == expected


@given(st.binary(max_size=200))
def test_any_bytes_ask_for_one_of_eight(block):
    assert orientation(b"MM\0*\0\0\0\x08" + block) in range(1, 9)
