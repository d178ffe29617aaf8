"""Users' names in figures."""

from hypothesis import given
from hypothesis import strategies as st

from model.figure_names import LONGEST_LABEL, label_of


def test_a_short_name_stays():
    assert label_of("US$ 1 bill") == "US$ 1 bill"


def test_both_ends_of_a_long_name_stay():
    assert label_of("a" * 30 + "b" * 30) == "a" * 19 + "…" + "b" * 20


@given(st.text(st.characters(), max_size=90))
def test_a_label_is_one_short_line_of_text(name):
    label = label_of(name)
    assert len(label) <= LONGEST_LABEL
    assert not set(label) & set(map(chr, range(32)))
    label.encode()
