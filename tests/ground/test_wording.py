"""Numbers read well in a line, however many there are."""

from ground.wording import listed, plural, reason_lines


def test_one_of_a_thing_is_singular():
    assert [plural(n, "object") for n in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]


def test_many_reasons_end_in_a_count_of_the_rest():
    assert listed({}) == ""
    assert listed({"a": 1, "b": 3, "c": 3}) == "b 3, c 3, a 1"
    counts = {f"r{n}": 10 - n for n in range(8)}
    assert listed(counts) == "r0 10, r1 9, r2 8, r3 7, r4 6, r5 5, and 2 more reasons"
    del counts["r7"]
    assert listed(counts).endswith("r5 5, and 1 more reason")


def test_many_reasons_do_not_flood_the_screen():
    reasons = {f"reason_{n:02}": 40 - n for n in range(40)}
    split = {
        "reasons": reasons,
        "rejected": {"pictures": {"reason_00": 2}, "objects": {"reason_01": 1}},
        "mended": {"reason_02": 1000, "reason_00": 1},
    }
    lines = reason_lines(split)
    assert lines[:4] == [
        "reason_00 40 (2 pictures left out, 1 mended)",
        "reason_01 39 (1 object left out)",
        "reason_02 38 (1,000 mended)",
        "reason_03 37",
    ]
    assert len(lines) == 11
    assert lines[-1] == "30 more reasons 465 (summary.json lists them)"  # 30 + 29 + ... + 1
    del split["reasons"]["reason_39"]
    assert reason_lines({**split, "reasons": dict(list(reasons.items())[:11])})[-1] == (
        "1 more reason 30 (summary.json lists it)"
    )
