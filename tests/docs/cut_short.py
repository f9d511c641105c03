"""The programs that the pages call, cut short so that a test has the time for them.

A page's command runs as it stands, but training stops after two steps on small pictures, sources
of films are on this machine, pip installs nothing and asks no index, and of tests that are not
chosen by -k some are collected. Usage: ``python cut_short.py PROGRAM ARGUMENT...``
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]
SHORT = ["--set", "training.max_steps=2", "--set", "model.img_size=64"]
TRAINED = Path("trained")
"""Where a workspace keeps bundles that were trained on its films, under the shipped names."""


def pneumoscope(arguments: list[str]) -> int:
    """Runs our command line in this process, away from any network."""
    from pneumoscope.cli import main

    stay_here()
    if arguments[:1] in (["train"], ["study"]):
        arguments = arguments + SHORT + (["--seeds", "2"] if "--seeds" in arguments else [])
    elif arguments[:1] == ["evaluate"] and "OTHER/FILMS" in arguments:
        arguments = [*arguments, "--no-robustness"]  # one page scores altered films, of its own
    elif arguments[:1] == ["ensemble"]:
        arguments = trained_here(arguments)
    elif arguments[:2] == ["data", "fetch"]:
        shutil.rmtree("Data/chest_xray", ignore_errors=True)  # or nothing would be fetched
        shutil.rmtree("studies", ignore_errors=True)  # whose split is that of other films
    return main(arguments)


def stay_here() -> None:
    """Lets this process reach this machine alone, where the sources of films then are."""
    from pneumoscope.data import fetch

    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a page's command asks the network for {address[0]}")
        connect(self, address)  # type: ignore[arg-type]

    socket.socket.connect = connect_here  # type: ignore[method-assign]
    sys.modules["kagglehub"] = None  # type: ignore[assignment]
    known = json.loads(os.environ["PAGES_SOURCES"])
    changed = {
        name: replace(source, **{k: tuple(v) if k[:4] == "num_" else v for k, v in new.items()})
        for name, source in fetch.SOURCES.items()
        if (new := known.get(name)) is not None
    }
    fetch.SOURCES = MappingProxyType(changed)
    fetch.fetch_dataset.__kwdefaults__["sources"] = fetch.SOURCES


def trained_here(arguments: list[str]) -> list[str]:
    """Returns arguments with bundles of the workspace's films in place of the shipped ones."""
    return [str(TRAINED / one) if (TRAINED / one).is_dir() else one for one in arguments]


def python(arguments: list[str]) -> int:
    """Runs Python: environments are those of the test, scripts those of the repository."""
    if arguments[:2] == ["-m", "venv"]:
        folder = Path(arguments[2])
        folder.mkdir(exist_ok=True)
        if not (folder / "bin").exists():
            (folder / "bin").symlink_to(os.environ["PAGES_PROGRAMS"])
        return 0
    if arguments[:2] == ["-m", "pytest"]:
        return pytest(arguments[2:])
    if arguments[0].startswith("benchmarks/"):
        arguments = [str(ROOT / arguments[0]), *trained_here(arguments[1:])]
        if arguments[0].endswith("full_size.py"):
            arguments += ["--batch-size", "1", "--img-size", "32"]
            arguments += ["--weights", "weights/ViT-B_16.npz"]  # random too
        if arguments[0].endswith("threshold_transfer.py"):
            repeat_films(Path("scores"))
    return run([sys.executable, *arguments])


def repeat_films(folder: Path) -> None:
    """Writes each film of tables of scores down many times, as that of other patients."""
    for path in folder.rglob("*.csv"):
        header, *rows = path.read_text().splitlines()
        cells = [row.split(",", 2) for row in rows]
        more = [f"{n}-{film},{n}-{who},{rest}" for n in range(35) for film, who, rest in cells]
        path.write_text("\n".join([header, *more]) + "\n")


def pytest(arguments: list[str]) -> int:
    """Runs fuzzing and the tests that -k chooses; of all others some are collected."""
    is_fuzzing = "PNEUMOSCOPE_FUZZ" in os.environ
    if is_fuzzing:
        os.environ["PNEUMOSCOPE_FUZZ"] = "20"
    more = ["-q", "-o", f"cache_dir={Path.cwd() / '.pytest_cache'}"]
    if not is_fuzzing and "-k" not in arguments:
        more.append("--collect-only")
    if not any((ROOT / one).exists() for one in arguments):
        more.append("tests/models/test_int8.py")
    return run([sys.executable, "-m", "pytest", *arguments, *more], cwd=ROOT)


def pip(arguments: list[str]) -> int:
    """Builds wheels of this package alone, and says what an installation would do."""
    arguments = [
        str(ROOT) + one[1:] if one == "." or one.startswith(".[") else one
        for one in arguments
        if one != "-e"
    ]
    more = ["--no-index", "--no-deps", "--no-build-isolation"]
    more += ["--dry-run"] if arguments[0] == "install" else []
    return run([sys.executable, "-m", "pip", *arguments, *more])


def torchrun(arguments: list[str]) -> int:
    """Starts the processes, which train for two steps."""
    elsewhere = ["--out", "runs/together"]  # a finished run would not be done again
    return run([sys.executable, "-m", "torch.distributed.run", *arguments, *SHORT, *elsewhere])


def mypy(_: list[str]) -> int:
    """Checks one file; all take a minute."""
    return run([tool("mypy"), "src/pneumoscope/labels.py"], cwd=ROOT)


def ruff(arguments: list[str]) -> int:
    """Checks the repository."""
    return run([tool("ruff"), *arguments], cwd=ROOT)


def pre_commit(arguments: list[str]) -> int:
    """Runs pre-commit in a repository of the workspace's own."""
    subprocess.run(["git", "init", "--quiet"], check=True)
    shutil.copy(ROOT / ".pre-commit-config.yaml", ".")
    return run([tool("pre-commit"), *arguments])


def jupytext(arguments: list[str]) -> int:
    """Runs jupytext on the workspace's copy of the notebook."""
    return run([tool("jupytext"), *arguments])


def tool(name: str) -> str:
    """Returns a program of the environment of the test."""
    return str(Path(sys.executable).with_name(name))


def run(command: list[str], cwd: Path | None = None) -> int:
    """Runs a program to its end."""
    return subprocess.run(command, cwd=cwd, check=False).returncode


PROGRAMS = {
    "pneumoscope": pneumoscope,
    "python": python,
    "python3": python,
    "pip": pip,
    "torchrun": torchrun,
    "mypy": mypy,
    "ruff": ruff,
    "pre-commit": pre_commit,
    "jupytext": jupytext,
}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](sys.argv[2:]))
