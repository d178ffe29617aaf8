"""How Beam's RunInference uses an exported model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

from ground.errors import DatasetError, ModelError
from model.encoded.files import shown
from model.pictures import Picture, read_picture
from model.predict import LoadedModel
from model.prediction.run import results_in
from model.prediction.tiles import Tiling

_BATCHES_A_CALL = 8  # so that pictures of one size find each other

# What came of a picture: `size` [height, width] and `results` in COCO's form, or `failure`.
Outcome = dict[str, Any]


class PictureModelHandler(ModelHandler[str, Outcome, LoadedModel]):
    """Detects in picture files, named by paths that every worker can read.

    Args:
        model_folder: the exported model, likewise.
        batch_size: pictures or tiles a call of the model.
        tiling: how large pictures are cut; None for not at all.
    """

    def __init__(self, model_folder: str, batch_size: int, tiling: Tiling | None) -> None:
        super().__init__()
        self._model_folder = model_folder
        self._batch_size = batch_size
        self._tiling = tiling

    def load_model(self) -> LoadedModel:
        """Returns the model; Beam keeps it, one a process."""
        return LoadedModel(self._model_folder)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Returns how many pictures are handed to `run_inference` together."""
        return {"min_batch_size": 1, "max_batch_size": _BATCHES_A_CALL * self._batch_size}

    def run_inference(
        self,
        batch: Sequence[str],
        model: LoadedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[Outcome]:
        """Returns what came of each picture, in their order."""
        outcomes: dict[int, Outcome] = {}

        def fail(n: int, error: DatasetError) -> None:
            outcomes[n] = {"failure": f"{shown(batch[n])}: {error}"}

        def readable() -> Iterator[tuple[int, Picture]]:
            for n, path in enumerate(batch):
                try:
                    yield n, read_picture(Path(path), model.max_picture_pixels)
                except DatasetError as error:
                    outcomes[n] = {"failure": str(error)}

        for n, picture, found in model.detect_all(readable(), self._batch_size, fail, self._tiling):
            try:
                results = results_in(model, batch[n], picture, found)
                outcomes[n] = {"size": [picture.height, picture.width], "results": results}
            except ModelError as error:  # the driver tells it: through Beam it would be a text
                outcomes[n] = {"model_error": str(error)}
        return [outcomes[n] for n in range(len(batch))]
