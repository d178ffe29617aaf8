"""The errors a person can meet, and the exit statuses that go with them.

    RcnnError                 anything we can explain in one line
    ├── ConfigError           a setting is unknown, missing or contradicts another
    ├── DatasetError          the COCO file or a picture is not what it should be
    ├── TrainingError         a worker died, a loss is not finite, a checkpoint does not fit
    ├── LostProcessError      a process that did a part of the work was ended
    ├── FolderInUseError      another run is at work in the same folder
    ├── OutputError           what is to be written would harm an input or what is not ours
    ├── ModelError            a model folder or weight file is not what it should be
    ├── RefusedError          a model may not be pushed: it is not what was evaluated and blessed
    └── ServiceError          a service (Kubeflow, a registry) did not do what was asked

A message says what is wrong, where (file, image id, config key) and what to do, in one line.
"""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
# `make setup` alone stays with the packages that were chosen last.
SETUP_WITH_TFX = "TFX_RCNN_PACKAGES=all make setup"
_NOT_TO_TRAIN = {"kfp", "ml_metadata", "tensorflow_data_validation", "tfx"}


class RcnnError(Exception):
    """Something that a person can mend; shown as one line, without a traceback."""

    exit_status = EXIT_FAILED


class ConfigError(RcnnError, ValueError):
    """A setting is unknown, missing, of the wrong type, or contradicts another."""

    exit_status = EXIT_USAGE


class DatasetError(RcnnError, ValueError):
    """The annotation file or a picture is not what it should be."""


class TrainingError(RcnnError, RuntimeError):
    """Training cannot go on."""


class LostProcessError(RcnnError, RuntimeError):
    """A process that did a part of the work was ended."""


class FolderInUseError(RcnnError, RuntimeError):
    """Another run is at work in the same folder."""


class OutputError(RcnnError, ValueError):
    """What is to be written would harm an input, or a file that is not ours."""

    exit_status = EXIT_USAGE


class ModelError(RcnnError, ValueError):
    """A model folder or a weight file is not what it should be."""


class RefusedError(RcnnError, RuntimeError):
    """A model may not be pushed: it is not what was evaluated and blessed."""

    exit_status = EXIT_REFUSED


class ServiceError(RcnnError, RuntimeError):
    """A service answered with an error, or not at all."""


def broken_installation(error: BaseException | None) -> str | None:
    """Returns the line of an error by which a package is missing or does not fit; else None."""
    if not isinstance(error, ImportError):
        return None
    text, mend = " ".join(str(error).split()), "make setup"
    if isinstance(error, ModuleNotFoundError) and error.name:
        text = f"the package {error.name} is missing"
        if error.name.partition(".")[0] in _NOT_TO_TRAIN:
            mend = SETUP_WITH_TFX
    return f"{text}: the installation is not whole, or of another revision: run {mend}"
