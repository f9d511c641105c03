"""A finished model on other films: nothing is refitted."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pneumoscope.bundle import Bundle
from pneumoscope.errors import EvaluationError, LayoutError, RadiographError
from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.study import evaluate as module
from pneumoscope.study.evaluate import evaluate

Evaluate = Callable[..., tuple[ModelResult, str]]


@pytest.fixture
def evaluated(
    finished_run: tuple[Path, Bundle, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Evaluate:
    """Evaluates the finished run's bundle on a folder; returns the result and what was printed.

    Tables and figures are not drawn.
    """

    def with_bundle(folder: Path, *, skip_unreadable: bool = False) -> tuple[ModelResult, str]:
        console = Console(file=io.StringIO(), width=40)
        compared: list[ModelResult] = []
        monkeypatch.setattr(module, "compare", lambda results, out: compared.extend(results))
        bundle = finished_run[1]
        evaluate(bundle, folder, tmp_path / "out", console, skip_unreadable=skip_unreadable)
        (result,) = compared
        return result, console.file.getvalue()  # type: ignore[attr-defined]

    return with_bundle


def test_a_bare_folder_of_classes_at_the_frozen_threshold(
    evaluated: Evaluate, finished_run: tuple[Path, Bundle, str], phantoms: Path
) -> None:
    bundle = finished_run[1]
    result, _ = evaluated(phantoms / "test")
    stored = read_predictions(bundle.path / "predictions.csv")
    test = stored.subset("test")
    assert result.threshold == bundle.operating_point["threshold"]
    assert result.films("test").path.tolist() == [p.removeprefix("test/") for p in test.path]
    assert result.films("test").p_pneumonia == pytest.approx(test.p_pneumonia, abs=1e-6)
    assert result.films("test").y_true.tolist() == test.y_true.tolist()
    expected = summarize_at_threshold(test.y_true, test.p_pneumonia, bundle.threshold)
    assert result.summaries("test")[1] == pytest.approx(expected, abs=1e-6)
    # The validation films stay the bundle's own.
    assert result.films("val").path.tolist() == stored.subset("val").path.tolist()
    assert result.phantom


def test_of_a_whole_layout_only_the_test_films(
    evaluated: Evaluate, finished_run: tuple[Path, Bundle, str], phantoms: Path
) -> None:
    result, _ = evaluated(phantoms)
    stored = read_predictions(finished_run[1].path / "predictions.csv").subset("test")
    assert result.films("test").path.tolist() == stored.path.tolist()


def test_batches_do_not_matter(
    evaluated: Evaluate, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = evaluated(phantoms / "test")
    monkeypatch.setattr(module, "_BATCH", 5)  # 24 films
    parts, _ = evaluated(phantoms / "test")
    assert parts.films("test").path.tolist() == whole.films("test").path.tolist()
    assert parts.films("test").logits == pytest.approx(whole.films("test").logits, abs=1e-5)


def test_an_unreadable_film_is_named_and_skipped_only_when_asked(
    evaluated: Evaluate, own_phantoms: Path
) -> None:
    film = sorted((own_phantoms / "test" / "PNEUMONIA").iterdir())[2]
    film.write_bytes(film.read_bytes()[:500])
    with pytest.raises(RadiographError) as caught:
        evaluated(own_phantoms)
    assert str(caught.value).startswith(f"{film}: is a damaged or truncated JPEG file (")
    assert str(caught.value).endswith("; --skip-unreadable leaves such films out")
    result, text = evaluated(own_phantoms, skip_unreadable=True)
    assert len(result.films("test")) == 23
    assert film.relative_to(own_phantoms).as_posix() not in result.films("test").path
    (line,) = [line for line in text.splitlines() if "skipped" in line]
    assert line.startswith(f"skipped: {film}: is a damaged or truncated JPEG file (")


def test_no_readable_film(evaluated: Evaluate, tmp_path: Path) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "films" / label).mkdir(parents=True)
        (tmp_path / "films" / label / "a.png").write_text("no film")
    with pytest.raises(EvaluationError) as caught:
        evaluated(tmp_path / "films", skip_unreadable=True)
    assert str(caught.value) == (
        f"no readable film in {tmp_path / 'films'}; expected labelled films to evaluate"
    )


def test_one_class(evaluated: Evaluate, own_phantoms: Path) -> None:
    shutil.rmtree(own_phantoms / "test" / "NORMAL")
    with pytest.raises(LayoutError, match=r"test/NORMAL is missing; expected films of both"):
        evaluated(own_phantoms)
