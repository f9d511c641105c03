"""A bundle's network through torch, onnxruntime and OpenVINO: start, speed, memory, in turn.

Needs Linux, the extra ``onnx``, and openvino for its rows. Usage:

    python benchmarks/runtimes.py BUNDLE...
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from pneumoscope.bundle import open_bundle
from pneumoscope.screening.export import export_onnx

ROUNDS = 3

CHILD = """
import json, sys, time
kind, name, path, size, batch = sys.argv[1:4] + [int(value) for value in sys.argv[4:]]
start = time.perf_counter()
import numpy as np
if kind == "torch":
    from pneumoscope.bundle import open_bundle
    from pneumoscope.models.scorer import load_torch_scorer
    run = load_torch_scorer(open_bundle(name))
elif kind == "onnxruntime":
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    run = lambda films: session.run(None, {"pixels": films})[0]
else:
    import openvino
    precision = {"INFERENCE_PRECISION_HINT": kind.rpartition(" ")[2]}
    model = openvino.Core().compile_model(path, "CPU", precision)
    run = lambda films: model([films])[0]
films = np.random.default_rng(0).integers(0, 256, (batch, size, size), np.uint8)
run(films)
ready = time.perf_counter()
count, cpu = 0, time.process_time()
while time.perf_counter() - ready < 3:
    run(films)
    count += batch
print(json.dumps({
    "first_answer_s": ready - start,
    "films_per_s": count / (time.perf_counter() - ready),
    "cpu_ms_per_film": 1000 * (time.process_time() - cpu) / count,
    "peak_mib": int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024,
}))
"""


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder, f"{name}.onnx")
            export_onnx(open_bundle(name), path)
            size = open_bundle(name).config["model"]["img_size"]
            for batch in (1, 16):
                found: dict[str, list[dict[str, float]]] = {}
                for _ in range(ROUNDS):
                    for kind in ("torch", "onnxruntime", "openvino f32", "openvino bf16"):
                        command = [sys.executable, "-c", CHILD, kind, name, str(path)]
                        said = subprocess.run(
                            [*command, str(size), str(batch)], capture_output=True, text=True
                        )
                        if said.returncode == 0:
                            found.setdefault(kind, []).append(json.loads(said.stdout))
                for kind, runs in found.items():
                    median = {k: round(statistics.median(r[k] for r in runs), 3) for k in runs[0]}
                    print(json.dumps({"bundle": name, "batch": batch, "runtime": kind, **median}),
                          flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
