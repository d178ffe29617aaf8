import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import InputConfig, LargeScaleJitterConfig
from ground.errors import DatasetError
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
    for step in epoch_of(plan, workers):
        assert len({bucket for bucket, _ in step}) == 1
        height, width = plan.buckets[step[0][0]]
        for _, indices in step:
            rows, columns = plan.sizes(0, indices[indices != FILLER])
            assert (rows <= height).all()
            assert (columns <= width).all()


@given(SIZES, st.integers(1, 8), st.sampled_from([1.0, 1.7]))
def test_no_step_is_empty_and_fillers_are_few(sizes, batch, jitter_high):
    plan = make_plan(sizes, batch, 1, jitter=(1.0, jitter_high))
    valid = [np.count_nonzero(indices != FILLER) for [(_, indices)] in epoch_of(plan, 1)]
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
    buckets = [plan.batch(0, step, worker=0)[0] for step in range(plan.steps_per_epoch)]
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


def large_scale_plan(sizes, batch=2, workers=1, seed=0, image_ids=None):
    heights, widths = np.array(sizes).T
    augmentation = Augmentation.from_config(
        InputConfig(large_scale_jitter=LargeScaleJitterConfig(side_px=64, range=(0.1, 2.0)))
    )
    return Plan(
        heights, widths, [(64, 64)], batch, workers, seed,
        augmentation=augmentation, image_ids=image_ids,
    )  # fmt: skip


@given(SIZES, WORKERS, st.integers(1, 5), st.integers(0, 3))
def test_crops_lie_in_their_pictures_and_in_the_square(sizes, workers, batch, epoch):
    plan = large_scale_plan(sizes, batch, workers)
    records = range(len(sizes))
    rows, columns = plan.sizes(epoch, records)
    tops, lefts, heights, widths = plan.crops(epoch, records).T
    assert (np.maximum(rows, columns) <= 128).all()
    assert (heights == np.minimum(rows, 64)).all() and (widths == np.minimum(columns, 64)).all()
    assert (tops >= 0).all() and (tops + heights <= rows).all()
    assert (lefts >= 0).all() and (lefts + widths <= columns).all()
    # One bucket: as few steps as can be, each picture once.
    assert plan.steps_per_epoch == -(-len(sizes) // (workers * batch))
    seen = np.concatenate([i for step in epoch_of(plan, workers, epoch) for _, i in step])
    assert sorted(seen[seen != FILLER]) == list(records)


def test_large_scale_jitter_is_uniform_in_factor_and_place():
    plan = large_scale_plan([(50, 100)] * 4000)
    factors = plan.sizes(0, range(4000))[1] / 64  # the longer side over the square's
    # Uniform in 0.1-2: mean 1.05, standard error 0.55 / sqrt(4000) = 0.009; half below the mean.
    assert factors.min() < 0.12 and factors.max() > 1.97
    assert factors.mean() == pytest.approx(1.05, abs=0.03)
    assert (factors < 1.05).mean() == pytest.approx(0.5, abs=0.03)
    _, lefts, _, widths = plan.crops(0, range(4000)).T
    room = plan.sizes(0, range(4000))[1] - widths
    places = lefts[room > 20] / room[room > 20]
    assert places.min() < 0.02 and places.max() > 0.98
    assert places.mean() == pytest.approx(0.5, abs=0.03)


def test_a_crop_is_a_function_of_seed_epoch_and_image_id():
    ids = np.arange(100, 150)
    sizes = [(64, 64)] * 50
    plan = large_scale_plan(sizes, image_ids=ids)
    turned = large_scale_plan(sizes, batch=1, workers=3, image_ids=ids[::-1])
    assert (plan.crops(2, range(50)) == turned.crops(2, range(50))[::-1]).all()
    assert (plan.crops(2, range(50)) != plan.crops(3, range(50))).any()
    assert (plan.crops(2, range(50)) != large_scale_plan(sizes, seed=1).crops(2, range(50))).any()


def test_every_choice_of_the_shorter_side_is_as_likely():
    choices = (40, 48, 56, 64)
    heights, widths = np.full(2000, 50), np.full(2000, 100)
    plan = Plan(
        heights, widths, [(64, 128)], 2, 1, 0,
        augmentation=Augmentation(64, 128, short_side_choices_px=choices),
    )  # fmt: skip
    rows, columns = plan.sizes(0, range(2000))
    counts = {int(side): int((rows == side).sum()) for side in np.unique(rows)}
    assert set(counts) == set(choices)
    # 500 each, standard deviation sqrt(2000 * 0.25 * 0.75) = 19.
    assert all(abs(count - 500) < 80 for count in counts.values())
    assert (columns == 2 * rows).all()
    assert (plan.crops(0, range(2000)) == np.stack([rows * 0, rows * 0, rows, columns], 1)).all()
