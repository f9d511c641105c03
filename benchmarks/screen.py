"""`pneumoscope screen` beside a Hugging Face pipeline with a Vision Transformer of the same size.

Both in one run, in turn: cold start to the first answer (a process of its own each time), films a
second on a folder of full-size films, and our peak memory for many files. The pipeline's weights
are random, which costs the same. Transformers is never a dependency; give an interpreter that has
it (and torch), from a virtual environment outside the repository:

    python -m venv ../hf && ../hf/bin/pip install torch transformers pillow
    python benchmarks/screen.py FILMS --hf-python ../hf/bin/python

FILMS is a folder of full-size films. One JSON object a line.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAKE = """
import sys
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
config = ViTConfig(hidden_size=256, num_hidden_layers=6, num_attention_heads=8,
                   intermediate_size=1024, num_labels=2, image_size=224, patch_size=16)
model = ViTForImageClassification(config)
model.save_pretrained(sys.argv[1])
half = [0.5] * 3
ViTImageProcessor(size={"height": 224, "width": 224}, image_mean=half, image_std=half
                  ).save_pretrained(sys.argv[1])
print(sum(parameter.numel() for parameter in model.parameters()))
"""

ANSWER = """
import sys, time
from transformers import pipeline
classify = pipeline("image-classification", sys.argv[1], device="cpu")
paths = [line.rstrip() for line in sys.stdin]
classify(paths[0])
start = time.perf_counter()
for batch_size in map(int, sys.argv[2:]):
    start = time.perf_counter()
    classify(paths, batch_size=batch_size)
    print(batch_size, len(paths) / (time.perf_counter() - start))
"""

WARM = """
import sys, time
import pneumoscope as ps
screener = ps.Screener.load(sys.argv[1], precision=sys.argv[2])
paths = [line.rstrip() for line in sys.stdin]
screener.screen(paths[0])
start = time.perf_counter()
assert all(screening.status != "error" for screening in screener.screen_many(paths))
print(16, len(paths) / (time.perf_counter() - start))
"""

WAYS = (("scratch", "float32"), ("scratch", "int8"), ("cnn", "float32"))
"""Bundles and arithmetic; the pipeline's network is of the size of ``scratch``."""


def run(command: list[str], lines: str = "") -> tuple[float, str]:
    start = time.perf_counter()
    said = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, said.stdout


def report(**values: object) -> None:
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(rounded), flush=True)


def cold_start(hf: list[str], film: Path, rounds: int) -> None:
    ours: dict[tuple[str, str], list[float]] = {way: [] for way in WAYS}
    theirs = []
    for _ in range(rounds + 1):  # the first fills the file cache
        for (name, precision), times in ours.items():
            screen = [sys.executable, "-m", "pneumoscope", "screen", "--format", "json"]
            screen += ["--bundle", name, "--precision", precision]
            times.append(run([*screen, str(film)])[0])
        theirs.append(run(hf, f"{film}\n")[0])
    hf_s = statistics.median(theirs[1:])
    report(what="cold start, s", who="pipeline", median=hf_s, all=theirs[1:])
    for way, times in ours.items():
        ratios = [t / h for t, h in zip(times[1:], theirs[1:], strict=True)]
        report(
            what="cold start, s",
            who=", ".join(("screen", *way)),
            median=statistics.median(times[1:]),
            ratio=statistics.median(ratios),
            all=times[1:],
        )


def films_a_second(hf: list[str], films: list[Path], rounds: int, repeat: int) -> None:
    lines = "".join(f"{film}\n" for film in films) * repeat
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        for way in WAYS:
            said = run([sys.executable, "-c", WARM, *way], lines)[1]
            rates.setdefault(", ".join(("screen", *way)), []).append(float(said.split()[1]))
        for line in run([*hf, "1", "8"], lines)[1].splitlines():
            batch_size, rate = line.split()
            rates.setdefault(f"pipeline, batch {batch_size}", []).append(float(rate))
    best = max(
        statistics.median(values) for who, values in rates.items() if who.startswith("pipeline")
    )
    for who, values in rates.items():
        median = statistics.median(values)
        report(
            what="films a second", who=who, median=median, times_the_pipeline=median / best,
            num_films=len(films) * repeat, all=values,
        )  # fmt: skip


def memory(films: list[Path], num_files: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_files):
            film = films[number % len(films)]
            (Path(folder) / f"{number:06d}{film.suffix}").symlink_to(film.resolve())
        names = sorted(Path(folder).iterdir())
        for name, count in (("few", 32), ("many", num_files)):
            lines = "".join(f"{path}\n" for path in names[:count])
            screen = [sys.executable, "-m", "pneumoscope", "screen", "--format", "json", "-"]
            start = time.perf_counter()
            process = subprocess.Popen(
                screen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert process.stdin is not None
            process.stdin.write(lines.encode())
            process.stdin.close()
            assert process.stdout is not None
            num_lines = sum(1 for _ in process.stdout)
            process.stdout.close()
            _, status, usage = os.wait4(process.pid, 0)
            report(
                what=f"peak memory, {name} files, MiB", num_files=count, lines=num_lines,
                peak_mib=usage.ru_maxrss / 1024, status=status, wall_s=time.perf_counter() - start,
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("--hf-python", required=True, help="an interpreter that has transformers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=10, help="times the folder is gone through")
    parser.add_argument("--num-files", type=int, default=10_000, help="for the memory; 0 for none")
    arguments = parser.parse_args()
    films = sorted(path for path in arguments.films.rglob("*") if path.is_file())
    report(
        cpu=platform.processor() or platform.machine(), cores=os.cpu_count(),
        python=platform.python_version(), load=os.getloadavg()[0], num_films=len(films),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as model:
        said = run([arguments.hf_python, "-c", MAKE, model])[1]
        report(what="parameters of the pipeline's network", num=int(said.split()[-1]))
        hf = [arguments.hf_python, "-c", ANSWER, model]
        cold_start(hf, films[0], arguments.rounds)
        films_a_second(hf, films, arguments.rounds, arguments.repeat)
    if arguments.num_files:
        memory(films, arguments.num_files)
    report(
        load=os.getloadavg()[0], own_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )


if __name__ == "__main__":
    main()
