"""A short run of the picture fuzzer; `make fuzz` runs the long one."""

from tests.fuzz import pictures


def test_what_is_accepted_decodes_everywhere_to_the_same_picture():
    counts, failures = pictures.run(400, seed=0)
    assert failures == []
    # The mutations reach both sides of the check.
    assert sum(n for code, n in counts.items() if code.startswith("accepted")) > 40
    assert counts["picture_unreadable"] > 40
