"""Rooms and doors: who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pneumoscope

PACKAGE = Path(pneumoscope.__file__).parent

BASE = {"errors", "labels", "files", "config", "bundle"}
ALLOWED = {
    "config": set(),
    "data": set(),
    "models": {"data"},
    "training": {"data", "models"},
    "evaluation": {"data"},
    "screening": {"data", "models", "evaluation"},
    "study": {"data", "models", "training", "evaluation"},
    "cli": {"data", "models", "training", "evaluation", "screening", "study"},
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Names of the package's modules (``data.scan``) and of others (``torch``) in a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or ""}
            if node.module == "pneumoscope":
                names |= {f"pneumoscope.{alias.name}" for alias in node.names}
    return names


def test_every_folder_has_a_place_in_the_order():
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders == set(ALLOWED)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_stage_imports_only_from_stages_to_its_left(path):
    parts = path.relative_to(PACKAGE).parts
    stage = parts[0] if len(parts) > 1 else None
    for name in imported(path):
        if not name.startswith("pneumoscope."):
            continue
        target = name.split(".")[1]
        if stage is None:
            assert target in BASE or path.name in ("__init__.py", "__main__.py"), (path, name)
        elif target in ALLOWED and target not in BASE:
            assert target == stage or target in ALLOWED[stage], f"{path} imports {name}"
        else:
            is_public = stage not in BASE and target in pneumoscope.__all__
            assert target in BASE or is_public, f"{path} imports {name}"


def test_evaluation_imports_no_torch():
    for path in (PACKAGE / "evaluation").glob("*.py"):
        assert not {name.split(".")[0] for name in imported(path)} & {"torch", "kornia"}, path


def loaded_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(answer.stdout.split())


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import pneumoscope", {"torch", "numpy", "scipy", "PIL", "matplotlib"}),
        ("import pneumoscope.cli.app", {"torch", "numpy", "scipy", "sklearn", "matplotlib"}),
        ("import pneumoscope.evaluation.comparison", {"torch", "kornia"}),
        ("import pneumoscope.bundle", {"torch", "numpy"}),
        ("import pneumoscope.data.split", {"torch", "kornia"}),
    ],
)
def test_light_doors_stay_light(statement, heavy):
    assert not loaded_after(statement) & heavy


def test_public_names():
    assert pneumoscope.__all__ == [
        "PneumoscopeError",
        "Screener",
        "build_model",
        "choose_threshold_by_min_recall",
        "load_npz",
        "read_radiograph",
        "summarize_at_threshold",
    ]
    for name in pneumoscope.__all__:
        assert getattr(pneumoscope, name).__module__.startswith("pneumoscope.")
    with pytest.raises(AttributeError, match="no attribute 'screener'"):
        pneumoscope.screener  # noqa: B018
