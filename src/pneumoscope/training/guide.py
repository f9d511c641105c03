"""The network of a teacher, and which teachers a run may have."""

from pneumoscope.bundle import Bundle
from pneumoscope.errors import TrainingError
from pneumoscope.models.bundles import load_network
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.vit import VisionTransformer


def load_guide(teacher: Bundle, split_sha256: str) -> ResNet | VisionTransformer:
    """Returns the network of a teacher that has seen no validation film of the split.

    Building it draws from torch's random state.

    Raises:
        BundleError: the bundle is damaged.
        ModelError: its network cannot be built.
        TrainingError: it is an ensemble, or saw other or unknown films in training.
    """
    if teacher.manifest["data"]["split_sha256"] != split_sha256:
        raise TrainingError(
            f"the teacher {teacher.path} was trained on another split, so it may have seen "
            "this run's validation films; train the teacher on this split first"
        )
    if teacher.manifest.get("converted_from"):
        raise TrainingError(
            f"the teacher {teacher.path} was trained elsewhere, so it may have seen this run's "
            "validation films; train a teacher on this split"
        )
    guide = load_network(teacher)
    if not isinstance(guide, ResNet | VisionTransformer):
        raise TrainingError(
            f"the teacher {teacher.path} is an {teacher.manifest['model']}; expected a cnn "
            "or a Vision Transformer"
        )
    return guide
