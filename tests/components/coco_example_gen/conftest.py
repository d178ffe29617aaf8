import pytest

from components.coco_example_gen import whole
from tests.components.serial_shards import write_shards


@pytest.fixture
def without_beam(monkeypatch):
    monkeypatch.setattr(whole, "write_shards", write_shards)
