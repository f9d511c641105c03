"""Every error a caller can provoke, as one tree.

::

    PneumoscopeError
    ├── UsageError              the call itself is wrong (an option, a path that is not there)
    ├── ConfigError             a recipe or --set value that does not fit
    ├── DataError               the films or their folders
    │   ├── LayoutError         the folder is not <root>/{train,test}/{NORMAL,PNEUMONIA}
    │   ├── RadiographError     one file cannot be read as a radiograph
    │   └── SplitError          a split that cannot be made, or does not fit the data any more
    ├── FetchError              a download that failed or did not match its checksum
    ├── ModelError              a network that cannot be built
    │   └── WeightsError        a weights file that does not fit, or could run code
    ├── BundleError             a bundle that is incomplete, changed or from another version
    ├── TrainingError           training that cannot go on
    │   └── NonFiniteLossError  the loss stopped being a number
    ├── RunFolderError          a run folder that is busy, or belongs to another run
    ├── EvaluationError         scores or labels no statistic can be computed from
    └── StorageError            a folder that cannot be written, a disk that is full

Messages are one line: what was found, what was expected, what to do. The command line
prints them as they are and exits with status 2 (``UsageError``, ``ConfigError``) or 1.
"""


class PneumoscopeError(Exception):
    """Root of every error a caller can provoke; its text is one line for the user."""


class UsageError(PneumoscopeError):
    """The call itself is wrong."""


class ConfigError(PneumoscopeError):
    """A recipe or a ``--set`` value that does not fit."""


class DataError(PneumoscopeError):
    """The films or their folders are not what is needed."""


class LayoutError(DataError):
    """The folder is not laid out as ``{train,test}/{NORMAL,PNEUMONIA}``."""


class RadiographError(DataError):
    """One file cannot be read as a radiograph."""


class SplitError(DataError):
    """A split cannot be made, or no longer fits the data."""


class FetchError(PneumoscopeError):
    """A download failed or did not match its checksum."""


class ModelError(PneumoscopeError):
    """A network cannot be built as asked."""


class WeightsError(ModelError):
    """A weights file does not fit the network, or is of a kind that could run code."""


class BundleError(PneumoscopeError):
    """A bundle is incomplete, was changed, or comes from another version."""


class TrainingError(PneumoscopeError):
    """Training cannot go on."""


class RecordingError(TrainingError):
    """A training step cannot be recorded for a GPU."""


class NonFiniteLossError(TrainingError):
    """The loss stopped being a finite number."""


class RunFolderError(PneumoscopeError):
    """A run folder is in use, or belongs to another run."""


class EvaluationError(PneumoscopeError):
    """Scores or labels from which the statistic is not defined."""


class StorageError(PneumoscopeError):
    """A file or folder cannot be written."""
