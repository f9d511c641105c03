"""What the gate refuses: films of the test folder as they are, spoilt ones, and other pictures.

Needs the films, and for the other pictures the packages pydicom-data and nilearn, mahotas,
imgaug, ultralytics and gradio, which carry some; those that are not installed are left out and
named. None of these pictures, and no test film, was used in fitting the gate. Usage:

    python benchmarks/gate.py FILMS [--dicom DIR] [--pictures DIR]

FILMS is the folder with train and test, DIR holds DICOM films or any pictures.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import scan_folder
from pneumoscope.errors import RadiographError
from pneumoscope.screening.gate import Gate
from pneumoscope.screening.gate_fit import POSED

EVERY = 4
"""Of the test films every fourth is spoilt."""


def synthetic() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(7)
    size = (VIEW_PX, VIEW_PX)
    ramp = np.linspace(0, 255, VIEW_PX).astype(np.uint8)
    return {
        "noise": [rng.integers(0, 256, size, np.uint8) for _ in range(20)]
        + [rng.normal(128, sd, size).clip(0, 255).astype(np.uint8) for sd in range(10, 60, 5)],
        "blank": [np.full(size, level, np.uint8) for level in range(0, 256, 15)],
        "ramps": [np.broadcast_to(ramp, size), np.broadcast_to(ramp[:, None], size)],
    }


def spoilt(films: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    dark = [(film * 0.06).astype(np.uint8) for film in films]
    return {"too dark": dark, **{name: [f(film) for film in films] for name, f in POSED.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("--dicom", type=Path, help="DICOM films, each reported by name")
    parser.add_argument("--pictures", type=Path, help="pictures that are no films, in subfolders")
    arguments = parser.parse_args()
    gate = Gate.load()

    def verdict(view: np.ndarray) -> str | None:
        return gate.objection(np.ascontiguousarray(view), VIEW_PX, VIEW_PX)

    folder = scan_folder(arguments.films)
    test = [
        prepare(read_radiograph(folder.root / film.path), VIEW_PX)
        for film in folder.in_folder("test")
    ]
    refused = Counter(verdict(view) for view in test)
    num_refused = len(test) - refused[None]
    print(json.dumps({"set": "test films", "num": len(test), "refused": num_refused,
                      "reasons": {k: v for k, v in refused.items() if k}}))  # fmt: skip
    sets = {**synthetic(), **spoilt(test[::EVERY])}
    if arguments.pictures:
        for group in sorted(path for path in arguments.pictures.iterdir() if path.is_dir()):
            sets[group.name] = []
            for path in sorted(group.iterdir()):
                try:
                    sets[group.name].append(prepare(read_radiograph(path), VIEW_PX))
                except RadiographError as error:
                    print(json.dumps({"set": group.name, "not read": str(error)}))
    caught = {}
    for name, views in sets.items():
        reasons = Counter(verdict(view) for view in views)
        caught[name] = 1 - reasons[None] / len(views)
        print(json.dumps({"set": name, "num": len(views), "caught": round(caught[name], 4),
                          "reasons": {k: v for k, v in reasons.items() if k}}))  # fmt: skip
    total = sum(map(len, sets.values()))
    overall = sum(caught[name] * len(views) for name, views in sets.items()) / total
    mean = float(np.mean(list(caught.values())))
    summary = {"num": total, "caught": round(overall, 4), "mean over sets": round(mean, 4)}
    print(json.dumps({"set": "all wrong images", **summary}))
    for path in sorted(arguments.dicom.glob("*.dcm")) if arguments.dicom else ():
        objection = verdict(prepare(read_radiograph(path), VIEW_PX))
        print(json.dumps({"file": path.name, "objection": objection}))


if __name__ == "__main__":
    main()
