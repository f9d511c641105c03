"""What the gate refuses: films of the test folder as they are, framed, spoilt, and other pictures.

Needs the films, and for the other pictures the packages pydicom-data and nilearn, mahotas,
imgaug, ultralytics and gradio, which carry some; those that are not installed are left out and
named. None of these pictures, and no test film, was used in fitting the gate. Usage:

    python benchmarks/gate.py FILMS [--dicom DIR] [--pictures DIR] [--split CSV]

FILMS is the folder with train and test, DIR holds DICOM films or any pictures. With ``--split``,
a split of theirs, its validation films take the place of the test films: what choices are made on.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pneumoscope.data.corruption import add_noise, apply_gamma, blur, scale_contrast
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import read_split
from pneumoscope.errors import RadiographError
from pneumoscope.screening.altered import SIDES, blacked_out, cut, framed, middle, part, turned
from pneumoscope.screening.gate import Gate

EVERY = 4
"""Of the films every fourth is altered."""

View = np.ndarray
Alteration = Callable[[View], View]


def all_round(share: float, level: int) -> Alteration:
    return lambda film: framed(film, share, share, share, share, level)


STILL_FILMS: dict[str, Alteration] = {
    **{
        f"{name} frame, {percent} % a side": all_round(percent / 100, level)
        for name, level in (("black", 0), ("white", 255))
        for percent in (5, 10, 15)
    },
    "black bars left and right, 12 %": lambda film: framed(film, 0, 0, 0.12, 0.12),
    "white bars left and right, 12 %": lambda film: framed(film, 0, 0, 0.12, 0.12, 255),
    "black bars above and below, 12 %": lambda film: framed(film, 0.12, 0.12, 0, 0),
    **{f"turned {d} degrees, black corners": lambda f, d=d: turned(f, d) for d in (5, 10, 15, -15)},
    "turned 10 degrees in a black frame of 10 %": lambda f: all_round(0.1, 0)(turned(f, 10)),
    "mirrored": lambda film: film[:, ::-1],
    "middle 90 %": lambda film: middle(film, 0.9),
    "middle 80 %": lambda film: middle(film, 0.8),
    "gamma 0.5": lambda film: apply_gamma(film, 0.5),
    "gamma 2": lambda film: apply_gamma(film, 2),
    "contrast x 0.5": lambda film: scale_contrast(film, 0.5),
    "blurred 1 px": lambda film: blur(film, 1),
    "noise of 10 levels": lambda film: add_noise(film, 10),
}
"""What must pass."""

FITTED: dict[str, Alteration] = {
    "turned left": lambda film: np.rot90(film, 1),
    "upside down": lambda film: np.rot90(film, 2),
    "turned right": lambda film: np.rot90(film, 3),
    "negative": lambda film: 255 - film,
    **{
        f"{name} missing at the {side}": lambda f, side=side, share=share: cut(f, side, share)
        for name, share in (("quarter", 1 / 4), ("third", 1 / 3), ("half", 1 / 2))
        for side in SIDES
    },
    **{
        f"third blacked out at the {side}": lambda film, side=side: blacked_out(film, side, 1 / 3)
        for side in SIDES
    },
    "middle 60 %": lambda film: middle(film, 0.6),
    "middle 50 %": lambda film: middle(film, 0.5),
}
"""What must be refused, of kinds that the gate was fitted with, on other films."""


def quarter_blacked_out(film: View) -> View:
    film = film.copy()
    film[VIEW_PX // 2 :, : VIEW_PX // 2] = 0
    return film


def keyhole(film: View) -> View:
    rows, columns = np.mgrid[:VIEW_PX, :VIEW_PX] - VIEW_PX // 2
    return np.where(rows**2 + columns**2 > (0.3 * VIEW_PX) ** 2, 0, film).astype(np.uint8)


def twice(film: View) -> View:
    half = np.asarray(Image.fromarray(film).resize((VIEW_PX // 2, VIEW_PX)))
    return np.concatenate([half, half], axis=1)


UNSEEN: dict[str, Alteration] = {
    **{f"darkened to {100 * f:g} %": lambda film, f=f: (film * f).astype(np.uint8)
       for f in (0.05, 0.1, 0.2, 0.3, 0.4)},
    "whitened to 15 % of its contrast": lambda film: 217 + (film * 0.15).astype(np.uint8),
    "blurred 4 px": lambda film: blur(film, 4),
    "noise of 80 levels": lambda film: add_noise(film, 80),
    "turned 45 degrees": lambda film: turned(film, 45),
    "turned 135 degrees": lambda film: turned(film, 135),
    "mirrored top to bottom": lambda film: film[::-1],
    "transposed": lambda film: film.T,
    "faint negative": lambda film: (255 - film * 0.8).astype(np.uint8),
    "upper left quarter": lambda film: part(film, 0, 0.5, 0, 0.5),
    "lower right quarter": lambda film: part(film, 0.5, 1, 0.5, 1),
    "lower left quarter blacked out": quarter_blacked_out,
    "seen through a keyhole": keyhole,
    "twice side by side": twice,
    "in a black frame of 25 % a side": all_round(0.25, 0),
}  # fmt: skip
"""What must be refused, of kinds that the gate was not fitted with."""


def synthetic() -> dict[str, list[View]]:
    rng = np.random.default_rng(7)
    size = (VIEW_PX, VIEW_PX)
    ramp = np.linspace(0, 255, VIEW_PX).astype(np.uint8)
    return {
        "noise": [rng.integers(0, 256, size, np.uint8) for _ in range(20)]
        + [rng.normal(128, sd, size).clip(0, 255).astype(np.uint8) for sd in range(10, 60, 5)],
        "blank": [np.full(size, level, np.uint8) for level in range(0, 256, 15)],
        "ramps": [np.broadcast_to(ramp, size), np.broadcast_to(ramp[:, None], size)],
    }


def read_films(arguments: argparse.Namespace) -> tuple[str, list[View]]:
    if arguments.split:
        name, paths = "validation", [row.path for row in read_split(arguments.split).subset("val")]
    else:
        films = scan_folder(arguments.films).in_folder("test")
        name, paths = "test", [film.path for film in films]
    return name, [prepare(read_radiograph(arguments.films / path), VIEW_PX) for path in paths]


def read_pictures(folder: Path) -> dict[str, list[View]]:
    sets: dict[str, list[View]] = {}
    for group in sorted(path for path in folder.iterdir() if path.is_dir()):
        sets[group.name] = []
        for path in sorted(group.iterdir()):
            try:
                sets[group.name].append(prepare(read_radiograph(path), VIEW_PX))
            except RadiographError as error:
                print(json.dumps({"set": group.name, "not read": str(error)}))
    return sets


class Report:
    """Prints one line a set, and remembers the rates of each kind of set."""

    def __init__(self) -> None:
        self.gate = Gate.load()
        self.rates: dict[str, list[tuple[int, float]]] = {}

    def verdict(self, view: View, side_px: int = VIEW_PX) -> str | None:
        return self.gate.objection(np.ascontiguousarray(view), side_px, side_px)

    def line(self, kind: str, name: str, said: list[str | None]) -> None:
        reasons = Counter(said)
        rate = 1 - reasons[None] / len(said)
        self.rates.setdefault(kind, []).append((len(said), rate))
        print(json.dumps({"kind": kind, "set": name, "num": len(said), "refused": round(rate, 4),
                          "reasons": {k: v for k, v in reasons.items() if k}}))  # fmt: skip

    def summary(self, *kinds: str) -> None:
        counts, rates = np.array([pair for kind in kinds for pair in self.rates[kind]]).T
        print(json.dumps({"all of": kinds, "num": int(counts.sum()), "sets": len(rates),
                          "pooled": round(float(counts @ rates / counts.sum()), 4),
                          "mean over sets": round(float(rates.mean()), 4),
                          "sets under 95 %": int((rates < 0.95).sum())}))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("--split", type=Path, help="take the validation films of this split")
    parser.add_argument("--dicom", type=Path, help="DICOM films, each reported by name")
    parser.add_argument("--pictures", type=Path, help="pictures that are no films, in subfolders")
    arguments = parser.parse_args()
    report = Report()
    name, films = read_films(arguments)
    start = time.perf_counter()
    said = [report.verdict(film) for film in films]
    took = (time.perf_counter() - start) / len(films)
    report.line("films", f"{name} films as they are", said)
    some = films[::EVERY]
    for kind, alterations in (("still films", STILL_FILMS), ("fitted", FITTED), ("new", UNSEEN)):
        for name, altered in alterations.items():
            report.line(kind, name, [report.verdict(altered(film)) for film in some])
    for side_px in (16, 32, 63):
        said = [report.verdict(film, side_px) for film in some]
        report.line("new", f"only {side_px} px a side", said)
    pictures = read_pictures(arguments.pictures) if arguments.pictures else {}
    for name, views in {**synthetic(), **pictures}.items():
        report.line("pictures", name, [report.verdict(view) for view in views])
    for kind in ("still films", "fitted", "new", "pictures"):
        report.summary(kind)
    report.summary("fitted", "new", "pictures")
    for path in sorted(arguments.dicom.glob("*.dcm")) if arguments.dicom else ():
        objection = report.verdict(prepare(read_radiograph(path), VIEW_PX))
        print(json.dumps({"file": path.name, "objection": objection}))
    print(json.dumps({"lateral views": "none in the data: neither learnt nor measured"}))
    print(json.dumps({"ms a film": round(1000 * took, 2)}))


if __name__ == "__main__":
    main()
