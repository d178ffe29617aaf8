import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs.schema import Config
from model import export
from model.export import ServingModule, export_saved_model, model_digest
from model.training_settings import TrainingSettings
from tests.model.fake_detector import FakeDetector
from tests.picture_zoo import png, zoo

CATEGORIES = [{"id": 18, "name": "dog", "label": 1}, {"id": 90, "name": "toothbrush", "label": 2}]
CONFIG = TrainingSettings.of(
    Config(name="fake", input={"short_side_px": 64, "long_side_px": 128, "size_multiple_px": 32})
)


def encoded(height, width, value=255, form="PNG", mode="RGB"):
    stream = io.BytesIO()
    pixels = np.full((height, width, 3), value, np.uint8)
    Image.fromarray(pixels).convert(mode).save(stream, form)
    return stream.getvalue()


@pytest.fixture
def module():
    return ServingModule(FakeDetector(), CONFIG.input, CATEGORIES)


def test_boxes_are_shares_of_the_picture_whatever_the_padding(module):
    # 40 x 100 becomes 51 x 128 and 90 x 50 becomes 115 x 64, padded to 128 x 128 together.
    found = module.detect_files(tf.constant([encoded(40, 100), encoded(90, 50)]))

    assert found["detection_boxes"].shape == (2, 4, 4)
    for boxes in found["detection_boxes"].numpy():
        np.testing.assert_allclose(boxes[:2], [[0, 0, 1, 1], [0, 0, 1, 0.5]], atol=1e-6)


def test_classes_are_coco_ids_and_rows_beyond_the_count_are_zero(module):
    found = module.detect_files(tf.constant([encoded(40, 100)]))

    assert found["detection_classes"].numpy().tolist() == [[90, 18, 0, 0]]
    assert found["num_detections"].numpy().tolist() == [2]
    assert found["detection_scores"].numpy()[0, 2:].tolist() == [0, 0]
    assert not found["detection_boxes"].numpy()[0, 2:].any()
    assert found["detection_masks"].numpy()[0].any(axis=(1, 2)).tolist() == [1, 1, 0, 0]
    assert all(value.dtype == tf.float32 for value in found.values())


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L")]
)
def test_each_form_of_picture_is_read_as_rgb(module, form, mode):
    found = module.detect_files(tf.constant([encoded(64, 64, 102, form, mode)]))

    # The second score is the brightness; padding must not count: 102 / 255 = 0.4.
    assert found["detection_scores"].numpy()[0, 1] == pytest.approx(0.4, abs=0.005)


def test_of_16_bit_grey_the_high_byte_counts(module):
    stream = io.BytesIO()
    Image.fromarray(np.full((64, 64), 0x66FF, np.uint16)).save(stream, "PNG")

    found = module.detect_files(tf.constant([stream.getvalue()]))

    assert found["detection_scores"].numpy()[0, 1] == pytest.approx(0x66 / 255, abs=1e-3)


def test_decoded_pictures_give_what_their_files_give(module):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (2, 50, 70, 3), np.uint8)
    files = []
    for picture in pixels:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        files.append(stream.getvalue())

    of_files = module.detect_files(tf.constant(files))
    of_pixels = module.detect_decoded(tf.constant(pixels))

    for name, values in of_files.items():
        np.testing.assert_array_equal(values, of_pixels[name], name)


def test_what_is_no_picture_is_an_error_of_the_call(module):
    with pytest.raises(tf.errors.InvalidArgumentError):
        module.detect_files(tf.constant([b"no picture"]))
    assert module.detect_files(tf.constant([encoded(8, 8)]))["num_detections"].shape == (1,)


def test_a_model_without_a_mask_head_returns_no_masks():
    module = ServingModule(FakeDetector(with_masks=False), CONFIG.input, CATEGORIES)

    assert "detection_masks" not in module.detect_files(tf.constant([encoded(8, 8)]))


@pytest.fixture
def exported(tmp_path, monkeypatch):
    built = []

    def build(settings, num_classes, precision):
        built.append((settings.weights, num_classes, precision))
        return FakeDetector(weight=0.0)

    monkeypatch.setattr(export, "build_detector", build)
    config = CONFIG.model_copy(
        update={"model": CONFIG.model.model_copy(update={"weights": "start.safetensors"})}
    )
    (tmp_path / ".model.0123abcd.partial" / "variables").mkdir(parents=True)  # of a killed export
    model_id = export_saved_model(
        FakeDetector(weight=0.625), config, CATEGORIES, tmp_path / "model", {"steps": 7}
    )
    assert built == [(None, 2, "float32")]
    return tmp_path / "model", model_id


def test_the_saved_model_has_both_signatures_and_the_trained_weights(exported):
    folder, _ = exported
    model = tf.saved_model.load(str(folder))

    of_files = model.signatures["serving_default"](image_bytes=tf.constant([encoded(30, 40)]))
    of_pixels = model.signatures["decoded"](
        images=tf.fill([1, 30, 40, 3], tf.constant(255, tf.uint8))
    )

    assert of_files["detection_scores"].numpy()[0].tolist() == pytest.approx([0.625, 1, 0, 0])
    assert of_pixels["detection_scores"].numpy()[0].tolist() == pytest.approx([0.625, 1, 0, 0])


def test_the_folder_says_what_the_model_is(exported):
    folder, model_id = exported

    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert json.loads((folder / "assets/categories.json").read_text()) == CATEGORIES
    config = TrainingSettings.from_json((folder / "assets/config.json").read_text())
    assert (config.input, config.train) == (CONFIG.input, CONFIG.train)
    identity = json.loads((folder / "assets.extra/model_id.json").read_text())
    assert identity["model_id"] == model_id
    assert identity["training"] == {"steps": 7}


def test_a_failed_export_leaves_the_old_model(exported, monkeypatch):
    folder, _ = exported

    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", no_space)
    with pytest.raises(OSError, match="No space"):
        export_saved_model(FakeDetector(), CONFIG, CATEGORIES, folder)

    assert (folder / "saved_model.pb").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_the_model_id_changes_with_weights_settings_and_categories_only():
    weights = {"a": np.float32([1, 2]), "b": np.float32([[3]])}
    model_id = model_digest(weights, CONFIG, CATEGORIES)

    assert len(model_id) == 64
    assert model_digest(dict(reversed(weights.items())), CONFIG, CATEGORIES) == model_id
    other_run = CONFIG.model_copy(update={"name": "other", "train": CONFIG.train})
    assert model_digest(weights, other_run, CATEGORIES) == model_id
    start = CONFIG.model.model_copy(update={"weights": "elsewhere.npz"})
    assert model_digest(weights, CONFIG.model_copy(update={"model": start}), CATEGORIES) == model_id

    changed = {**weights, "a": np.float32([1, 2.0000002])}
    assert model_digest(changed, CONFIG, CATEGORIES) != model_id
    reshaped = {**weights, "a": np.float32([[1, 2]])}
    assert model_digest(reshaped, CONFIG, CATEGORIES) != model_id
    assert model_digest(weights, CONFIG, CATEGORIES[:1]) != model_id
    larger = CONFIG.model_copy(
        update={"input": CONFIG.input.model_copy(update={"short_side_px": 65})}
    )
    assert model_digest(weights, larger, CATEGORIES) != model_id


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model with small pictures, as a service loads it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "build_detector", lambda *args, **kwargs: FakeDetector())
        small = CONFIG.input.model_copy(update={"max_picture_pixels": 4096})
        config = CONFIG.model_copy(update={"input": small})
        export_saved_model(FakeDetector(weight=0.75), config, CATEGORIES, folder)
    return tf.saved_model.load(str(folder)).signatures


def test_an_empty_batch_has_no_rows(saved):
    of_files = saved["serving_default"](image_bytes=tf.constant([], tf.string))
    of_pixels = [
        saved["decoded"](images=tf.zeros(shape, tf.uint8))
        for shape in ([0, 30, 40, 3], [0, 0, 0, 3])
    ]
    some = saved["serving_default"](image_bytes=tf.constant([encoded(30, 40)]))

    for found in (of_files, *of_pixels):
        assert {name: (value.shape[1:], value.dtype) for name, value in found.items()} == {
            name: (value.shape[1:], value.dtype) for name, value in some.items()
        }
        assert all(value.shape[0] == 0 for value in found.values())


def test_decoded_pictures_without_pixels_are_an_error_of_the_call(saved):
    with pytest.raises(tf.errors.InvalidArgumentError, match="images have no pixels"):
        saved["decoded"](images=tf.zeros([2, 0, 40, 3], tf.uint8))


def test_the_size_is_looked_at_before_the_picture_is_decoded(saved):
    detect = saved["serving_default"]
    for form in ("PNG", "JPEG"):
        assert detect(image_bytes=tf.constant([encoded(64, 64, form=form)]))
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            detect(image_bytes=tf.constant([encoded(8, 8), encoded(64, 65, form=form)]))
        assert "picture 1 has 65 x 64 pixels (width x height); expected 1 to " in str(error.value)
    for size in ((60_000, 60_000), (2**31, 1), (2**32 - 1, 2**32 - 1), (0, 5)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"picture 0 has .* pixels"):
            detect(image_bytes=tf.constant([png(b"", size=size)]))


def test_each_file_of_the_zoo_is_served_or_an_error_of_its_call(saved):
    detect, outcomes = saved["serving_default"], {}
    for name, (content, code) in zoo().items():
        try:
            found = detect(image_bytes=tf.constant([content]))
            outcomes[name] = found["num_detections"].numpy().tolist() == [2]
        except tf.errors.InvalidArgumentError as error:
            outcomes[name] = False
            if code == "picture_format_unsupported":
                assert "picture 0 is no JPEG or PNG file" in str(error), name
        # What is damaged or lacks its end is decoded as far as it goes, or refused.
        if code in ("", "picture_metadata_damaged"):
            assert outcomes[name], name
        elif code in ("picture_unreadable", "picture_format_unsupported"):
            assert not outcomes[name], name


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 60_000), (60_000, 1)])
def test_extreme_shapes_stay_within_the_model_s_size(module, height, width):
    found = module.detect_files(tf.constant([encoded(height, width)]))

    np.testing.assert_allclose(found["detection_boxes"].numpy()[0, 0], [0, 0, 1, 1], atol=1e-6)


def test_company_changes_nothing(saved):
    sizes = [(40, 60), (60, 40), (40, 60), (64, 64), (8, 60), (60, 41), (33, 33)]
    files = [encoded(*size, value=30 * n) for n, size in enumerate(sizes)]
    detect = saved["serving_default"]

    alone = [detect(image_bytes=tf.constant([file])) for file in files]
    for order in (range(7), reversed(range(7)), (3, 0, 6, 2, 5, 1, 4)):
        order = list(order)
        together = detect(image_bytes=tf.constant([files[n] for n in order]))
        for row, n in enumerate(order):
            for name, values in together.items():
                np.testing.assert_array_equal(values[row], alone[n][name][0], name)
