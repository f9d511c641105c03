"""How long a film takes to decode, by threads and by films that a thread decodes in a row.

Small files are mostly Python's work, for which threads wait for one another; of large ones the
decoders do most, without the interpreter's lock. ``data/cache.py`` goes by it. Usage:

    python benchmarks/decode.py FOLDER [--films 1000] [--rounds 7]

``FOLDER`` is searched for JPEG files. All ways in turn, round by round; printed are medians, in
milliseconds a film of 224 px, one line a way.
"""

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph

WAYS = [(1, 16), (1, 1), (2, 16), (2, 1), (4, 16), (8, 16), (8, 1)]
"""Threads, and films in a row."""


def decode(paths: list[Path]) -> None:
    for path in paths:
        prepare(read_radiograph(path), 224)


def milliseconds(paths: list[Path], threads: int, batch: int) -> float:
    batches = [paths[start : start + batch] for start in range(0, len(paths), batch)]
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, batches))
    return (time.perf_counter() - start) / len(paths) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    found = sorted(path for path in arguments.folder.rglob("*.jp*g"))
    if not found:
        parser.error(f"there is no JPEG file in {arguments.folder}")
    spread = found[:: max(1, len(found) // arguments.films)]
    paths = list(islice(cycle(spread), arguments.films))
    size = statistics.mean(path.stat().st_size for path in paths)
    times: dict[tuple[int, int], list[float]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way in WAYS:
            times[way].append(milliseconds(paths, *way))
    about = {"cores": os.cpu_count(), "films": len(paths), "mean_bytes": round(size)}
    for (threads, batch), ms in times.items():
        median = round(statistics.median(ms), 3)
        print(json.dumps({"threads": threads, "in_a_row": batch, "ms_a_film": median, **about}))


if __name__ == "__main__":
    main()
