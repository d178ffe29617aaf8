"""Numbers read well in a line, however many there are."""

from configs.wording import listed, plural


def test_one_of_a_thing_is_singular():
    assert [plural(n, "object") for n in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]


def test_many_reasons_end_in_a_count_of_the_rest():
    assert listed({}) == ""
    assert listed({"a": 1, "b": 3, "c": 3}) == "b 3, c 3, a 1"
    counts = {f"r{n}": 10 - n for n in range(8)}
    assert listed(counts) == "r0 10, r1 9, r2 8, r3 7, r4 6, r5 5, and 2 more reasons"
    del counts["r7"]
    assert listed(counts).endswith("r5 5, and 1 more reason")
