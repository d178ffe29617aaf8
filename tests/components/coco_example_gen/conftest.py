import pytest

from components.coco_example_gen import whole
from components.shard_results import do_job


@pytest.fixture
def without_beam(monkeypatch):
    """Writes shards one after the other, without a Beam pipeline around them."""

    def write_shards(jobs, write_shard, *_):
        done = {}
        for job in jobs:
            done.setdefault(job.split, []).append((job, do_job(job, write_shard)))
        return done

    monkeypatch.setattr(whole, "write_shards", write_shards)
