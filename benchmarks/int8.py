"""Dynamic int8 quantisation of a bundle's network: how far scores move, which decisions change.

Needs the extra ``onnx`` and the films behind the bundle's scores. Usage:

    python benchmarks/int8.py FILMS BUNDLE...
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from scipy.special import expit

from pneumoscope.bundle import open_bundle
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.models.bundles import load_network
from pneumoscope.models.graphs import graph_path
from pneumoscope.models.onnx_export import with_weights


def main(root: Path, names: list[str]) -> None:
    for name in names:
        bundle = open_bundle(name)
        model = bundle.config["model"]
        stored = read_predictions(bundle.path / "predictions.csv")
        films = np.stack(
            [prepare(read_radiograph(root / path), int(model["img_size"])) for path in stored.path]
        )
        state = load_network(bundle).state_dict()
        with tempfile.TemporaryDirectory() as folder:
            plain, small = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
            plain.write_bytes(with_weights(graph_path(model).read_bytes(), state, {}))
            quantize_dynamic(
                plain, small, weight_type=QuantType.QInt8, per_channel=True,
                op_types_to_quantize=["MatMul", "Gemm"],
            )  # fmt: skip
            session = onnxruntime.InferenceSession(small)
        logits = np.concatenate(
            [
                session.run(["logits"], {"pixels": films[start : start + 16]})[0]
                for start in range(0, len(films), 16)
            ]
        ).astype(np.float64)
        p = expit(logits[:, 1] - logits[:, 0])
        for split in ("val", "test"):
            rows = stored.split == split
            ours = stored.p_pneumonia[rows]
            changed = (p[rows] >= bundle.threshold) != (ours >= bundle.threshold)
            moved = float(np.abs(p[rows] - ours).max())
            print(
                json.dumps(
                    {
                        "bundle": bundle.model_id,
                        "split": split,
                        "num": int(rows.sum()),
                        "max_difference": round(moved, 5),
                        "decisions_changed": int(changed.sum()),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
