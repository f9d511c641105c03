"""What to do about an error, by its kind, where the message itself does not say."""

ADVICE = {
    "UsageError": "Correct the call: `pneumoscope COMMAND --help` says what it takes.",
    "ConfigError": "Correct the key or the file that is named; [every key](config.md) has its "
    "range. Nothing was trained.",
    "DataError": "Films were measured by another version, or by hand: make the bundle or the "
    "evaluation again.",
    "LayoutError": "Correct the folder that is named, or name another; nothing in it was changed. "
    "How it must look: [data](../data.md#layout).",
    "RadiographError": "Export the film again as JPEG, PNG, TIFF or DICOM, or leave it out: "
    "`--skip-unreadable` names each that it leaves out.",
    "SplitError": "Restore the films, or make a new split; models of the old one are then trained "
    "again.",
    "FetchError": "Try again, or bring the file by hand: "
    "[locked-down networks](../locked-down-networks.md).",
    "ModelError": "Correct the sizes or the name in the recipe's `[model]`: "
    "[models](../models.md).",
    "WeightsError": "Get the file again from its source, or name another; "
    "`pneumoscope weights inspect FILE` says what it is.",
    "BundleError": "Copy the whole bundle again, name another, or train it again.",
    "TrainingError": "Train the teacher on the split of this run first, or name another in "
    "`[distillation]`.",
    "RecordingError": "Set `PNEUMOSCOPE_NO_CUDA_GRAPHS=1` in the environment and start again: the "
    "run goes on from its last checkpoint, each step launched piece by piece.",
    "NonFiniteLossError": "Start again in another run folder with a lower learning rate, a longer "
    'warm-up, or `training.precision = "float32"`.',
    "RunFolderError": "Choose another `--out`, or remove the folder if nothing in it is needed.",
    "EvaluationError": "Look at the file, line or film that is named; scores that were edited or "
    "cut short are made again by `evaluate`.",
    "StorageError": "Free space, or write elsewhere with `--out`; nothing half-written is left.",
}
