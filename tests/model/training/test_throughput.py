import pytest

from model.training.throughput import Throughput


def test_traced_steps_are_told_apart():
    throughput = Throughput(workers=2)
    throughput.record(10.0, 4, 1.0, traced=True)
    throughput.record(1.0, 4, 0.5, traced=False)
    throughput.record(3.0, 4, 0.5, traced=False)
    summary = throughput.summary()
    assert summary["images_per_second"] == pytest.approx(2.0)  # 8 pictures in 4 s
    assert summary["images_per_second_per_worker"] == pytest.approx(1.0)
    assert summary["input_wait_share"] == pytest.approx(0.25)
    assert summary["step_seconds_p50"] == pytest.approx(2.0)
    assert summary["seconds_in_traced_steps"] == 10.0
    assert throughput.recent_step_seconds() == pytest.approx(2.0)


def test_traced_steps_count_where_there_are_no_others():
    throughput = Throughput(workers=1)
    throughput.record(10.0, 4, 1.0, traced=True)
    assert throughput.summary()["images_per_second"] == pytest.approx(0.4)
    assert throughput.recent_images_per_second() == pytest.approx(0.4)


def test_nothing_recorded_is_no_error():
    throughput = Throughput(workers=1)
    assert throughput.recent_step_seconds() == 0.0
    assert throughput.summary()["images_per_second"] == 0.0
