import pytest

from model.training.throughput import Throughput


def summary(throughput, workers=1):
    return throughput.summary([throughput.own_figures()] * workers)


def test_traced_steps_are_told_apart():
    throughput = Throughput(workers=2)
    throughput.record(10.0, 4, 1.0, traced=True)
    throughput.record(1.0, 4, 0.5, traced=False)
    throughput.record(3.0, 4, 0.5, traced=False)
    figures = summary(throughput, workers=2)
    assert figures["images_per_second"] == pytest.approx(2.0)  # 8 pictures in 4 s
    assert figures["images_per_second_per_worker"] == pytest.approx(1.0)
    assert figures["input_wait_share"] == pytest.approx(0.25)
    assert figures["step_seconds_p50"] == pytest.approx(2.0)
    assert figures["seconds_in_traced_steps"] == 10.0
    assert throughput.recent_step_seconds() == pytest.approx(2.0)


def test_traced_steps_count_where_there_are_no_others():
    throughput = Throughput(workers=1)
    throughput.record(10.0, 4, 1.0, traced=True)
    assert summary(throughput)["images_per_second"] == pytest.approx(0.4)
    assert throughput.recent_images_per_second() == pytest.approx(0.4)


def test_nothing_recorded_is_no_error():
    throughput = Throughput(workers=1)
    assert throughput.recent_step_seconds() == 0.0
    assert summary(throughput)["images_per_second"] == 0.0


def test_the_share_of_peak_is_the_models_work_over_the_devices():
    throughput = Throughput(workers=8, peak_flops=1000.0)
    throughput.record(100.0, 16, 0.0, traced=True, flops=600)
    throughput.record(2.0, 16, 0.0, traced=False, flops=600)
    throughput.record(3.0, 16, 0.0, traced=False, flops=900)
    # One worker's 1500 operations in 5 s on a device of 1000 a second.
    assert summary(throughput)["share_of_peak_flops"] == pytest.approx(0.3)


def test_a_device_of_unknown_peak_has_no_share():
    throughput = Throughput(workers=1)
    throughput.record(2.0, 16, 0.0, traced=False, flops=600)
    assert summary(throughput)["share_of_peak_flops"] is None


def test_every_worker_has_a_row():
    per_worker = [{"peak_memory_mib": 900.0}, {"peak_memory_mib": 800.0}]
    assert Throughput(workers=2).summary(per_worker)["per_worker"] == [
        {"worker": 0, "peak_memory_mib": 900.0},
        {"worker": 1, "peak_memory_mib": 800.0},
    ]


def test_memory_is_that_of_this_process():
    figures = Throughput(workers=1).own_figures()
    assert figures["input_wait_share"] == 0.0
    assert 50 < figures["peak_memory_mib"] < 50_000  # of a process that has loaded TensorFlow
    assert figures["peak_gpu_memory_mib"] is None or figures["peak_gpu_memory_mib"] >= 0
