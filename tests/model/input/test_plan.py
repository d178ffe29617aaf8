import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import DatasetError
from model.input.buckets import choose_buckets
from model.input.plan import FILLER, Augmentation, Plan

SIZES = st.lists(st.tuples(st.integers(10, 200), st.integers(10, 200)), min_size=1, max_size=40)
WORKERS = st.sampled_from([1, 2, 3, 8])


def make_plan(sizes, batch=2, workers=1, seed=0, jitter=(1.0, 1.0), flip=0.5, max_buckets=3):
    heights, widths = np.array(sizes).T
    buckets = choose_buckets(
        heights,
        widths,
        short_side_px=64 * jitter[1],
        long_side_px=128 * jitter[1],
        multiple_px=32,
        max_buckets=max_buckets,
    )
    augmentation = Augmentation(64, 128, jitter, flip)
    return Plan(heights, widths, buckets, batch, workers, seed, augmentation=augmentation)


def epoch_of(plan, workers, epoch=0):
    """Returns [(bucket, indices)] of every step and worker."""
    return [
        [plan.batch(epoch, step, worker) for worker in range(workers)]
        for step in range(plan.steps_per_epoch)
    ]


@given(SIZES, WORKERS, st.integers(1, 5), st.integers(0, 3), st.sampled_from([1.0, 1.7]))
def test_each_picture_is_seen_once_an_epoch(sizes, workers, batch, epoch, jitter_high):
    plan = make_plan(sizes, batch, workers, jitter=(1.0, jitter_high))
    steps = epoch_of(plan, workers, epoch)
    seen = np.concatenate([indices for step in steps for _, indices in step])
    assert all(len(indices) == batch for step in steps for _, indices in step)
    assert sorted(seen[seen != FILLER]) == list(range(len(sizes)))


@given(SIZES, WORKERS, st.integers(1, 5), st.sampled_from([1.0, 1.7]))
def test_workers_share_a_bucket_that_holds_their_pictures(sizes, workers, batch, jitter_high):
    plan = make_plan(sizes, batch, workers, jitter=(0.6, jitter_high))
    for number, step in enumerate(epoch_of(plan, workers)):
        assert {bucket for bucket, _ in step} == {plan.bucket(0, number)}
        height, width = plan.buckets[step[0][0]]
        for _, indices in step:
            rows, columns = plan.sizes(0, indices[indices != FILLER])
            assert (rows <= height).all()
            assert (columns <= width).all()


@given(SIZES, st.integers(1, 8), st.sampled_from([1.0, 1.7]))
def test_no_step_is_empty_and_fillers_are_few(sizes, batch, jitter_high):
    plan = make_plan(sizes, batch, 1, jitter=(1.0, jitter_high))
    valid = [plan.global_valid(0, step) for step in range(plan.steps_per_epoch)]
    assert min(valid) >= 1
    assert sum(valid) == len(sizes)
    assert plan.steps_per_epoch <= len(sizes) // batch + len(plan.buckets)


@given(SIZES)
def test_a_step_has_the_same_pictures_for_every_split_of_the_batch(sizes):
    plans = [(make_plan(sizes, 4 // workers, workers), workers) for workers in (1, 2, 4)]
    pictures = [
        [sorted(np.concatenate([indices for _, indices in step])) for step in epoch_of(plan, n)]
        for plan, n in plans
    ]
    assert pictures[0] == pictures[1] == pictures[2]


def test_fillers_are_spread_evenly_over_workers():
    plan = make_plan([(64, 64)] * 4, batch=4, workers=4)
    assert [np.count_nonzero(i != FILLER) for _, i in epoch_of(plan, 4)[0]] == [1, 1, 1, 1]


def test_plan_is_a_function_of_its_arguments():
    sizes = [(50, 50 + i) for i in range(40)]
    first, second = make_plan(sizes), make_plan(sizes)
    for epoch in (5, 0, 2, 5):  # any order, and more epochs than are kept
        for step in range(first.steps_per_epoch):
            assert (first.batch(epoch, step, 0)[1] == second.batch(epoch, step, 0)[1]).all()
            second.batch(1, step, 0)


def test_epochs_and_seeds_differ_in_order_and_flips():
    sizes = [(50, 50)] * 64

    def order(plan, epoch):
        return np.concatenate([indices for step in epoch_of(plan, 1, epoch) for _, indices in step])

    plan, other = make_plan(sizes), make_plan(sizes, seed=1)
    orders = [order(plan, 0), order(plan, 1), order(other, 0)]
    flips = [plan.flips(0, range(64)), plan.flips(1, range(64)), other.flips(0, range(64))]
    for values in (orders, flips):
        assert (values[0] != values[1]).any()
        assert (values[0] != values[2]).any()


def test_steps_of_different_buckets_are_mixed():
    plan = make_plan([(100, 50)] * 64 + [(50, 100)] * 64, batch=4)
    buckets = [plan.bucket(0, step) for step in range(plan.steps_per_epoch)]
    assert buckets != sorted(buckets)
    assert buckets != sorted(buckets, reverse=True)


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0.0, 0, 0), (1.0, 1, 1), (0.5, 0.4, 0.6)]
)
def test_flips_follow_their_probability(probability, low, high):
    plan = make_plan([(50, 50)] * 1000, flip=probability)
    # Standard error at 0.5 is 0.016.
    assert low <= plan.flips(0, range(1000)).mean() <= high


def test_jitter_keeps_its_range_and_the_aspect():
    plan = make_plan([(100, 150)] * 500, jitter=(0.5, 2.0))
    rows, columns = plan.sizes(0, range(500))
    # 64 x 96 without jitter
    assert rows.min() in range(32, 36)
    assert rows.max() in range(118, 129)
    assert np.abs(columns / rows - 1.5).max() < 0.05
    assert (rows < 64).mean() == pytest.approx(0.5, abs=0.1)  # log-uniform
    assert (rows != plan.sizes(1, range(500))[0]).any()


def test_without_jitter_sizes_are_those_of_evaluation():
    plan = make_plan([(48, 64), (640, 480)])
    assert [side.tolist() for side in plan.sizes(3, [0, 1])] == [[64, 85], [85, 64]]


def test_randomness_hangs_on_the_image_id():
    heights = np.full(50, 64)
    ids = np.arange(100, 150)
    augmentation = Augmentation(64, 128, (0.5, 1.0), 0.5)

    def plan(image_ids):
        return Plan(
            heights,
            heights,
            [(64, 64)],
            2,
            1,
            0,
            augmentation=augmentation,
            image_ids=image_ids,
        )

    straight, reverse = plan(ids), plan(ids[::-1])
    assert (straight.flips(0, range(50)) == reverse.flips(0, range(50))[::-1]).all()
    assert (straight.sizes(0, range(50))[0] == reverse.sizes(0, range(50))[0][::-1]).all()


def test_padding_share_counts_fillers_and_margins():
    plan = make_plan([(64, 64)] * 3, batch=4)
    assert plan.padding_share(0) == pytest.approx(0.25)


def test_empty_split_and_misfits_are_refused():
    augmentation = Augmentation(64, 128)
    with pytest.raises(DatasetError, match="no pictures"):
        Plan([], [], [(64, 128)], 1, 1, 0, augmentation=augmentation)
    with pytest.raises(DatasetError, match=r"1 pictures fit none .* image 9, 128 x 64 px"):
        Plan(
            [64, 128], [128, 64], [(64, 128)], 1, 1, 0, augmentation=augmentation, image_ids=[8, 9]
        )


def test_step_out_of_range_is_an_index_error():
    plan = make_plan([(64, 64)] * 3)
    with pytest.raises(IndexError, match="step 2 of 2"):
        plan.batch(0, 2, 0)
    with pytest.raises(IndexError, match="worker 1 of 1"):
        plan.batch(0, 0, 1)
