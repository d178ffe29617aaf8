from model.training import profile
from model.training.profile import ProfilerWindow


def profiled(monkeypatch, steps, run):
    """Returns what the window asks of the profiler while `run` (step numbers) is done."""
    asked = []
    monkeypatch.setattr(
        profile.tf.profiler.experimental, "start", lambda folder: asked.append("start")
    )
    monkeypatch.setattr(profile.tf.profiler.experimental, "stop", lambda: asked.append("stop"))
    window = ProfilerWindow(steps, "folder")
    before = None
    for number in run:
        with window.step(number):
            asked.append(number)
        if before is not None:
            window.finished(before)  # read one step late, as the loop does
        before = number
    window.close()
    return asked


def test_the_window_ends_when_its_last_step_is_done(monkeypatch):
    asked = profiled(monkeypatch, (1, 3), range(5))
    assert asked == [0, "start", 1, 2, 3, "stop", 4]


def test_a_run_taken_up_within_the_window_profiles_the_rest(monkeypatch):
    assert profiled(monkeypatch, (1, 4), [3, 4, 5]) == ["start", 3, 4, "stop", 5]


def test_a_run_that_ends_within_the_window_writes_what_it_saw(monkeypatch):
    assert profiled(monkeypatch, (1, 9), range(3)) == [0, "start", 1, 2, "stop"]


def test_no_window_profiles_nothing(monkeypatch):
    assert profiled(monkeypatch, None, range(3)) == [0, 1, 2]
