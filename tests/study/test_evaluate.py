"""A finished model on other films: nothing is refitted."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pneumoscope.bundle import Bundle
from pneumoscope.data.corruption import CLEAN, CORRUPTIONS
from pneumoscope.data.quality import measure_quality
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import Film, FilmFolder
from pneumoscope.errors import EvaluationError, LayoutError, RadiographError
from pneumoscope.evaluation.comparison import compare
from pneumoscope.evaluation.evidence import open_results
from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.labels import Label
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

    def with_bundle(
        folder: Path, *, robustness: bool = False, **options: Any
    ) -> tuple[ModelResult, str]:
        console = Console(file=io.StringIO(), width=40)
        compared: list[ModelResult] = []
        monkeypatch.setattr(
            module, "compare", lambda results, out, gallery: compared.extend(results)
        )
        bundle = finished_run[1]
        evaluate(bundle, folder, tmp_path / "out", console, robustness=robustness, **options)
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


def test_films_of_one_class_are_refused_before_any_work(
    evaluated: Evaluate, own_phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_phantoms / "test" / "PNEUMONIA").rename(own_phantoms / "test" / "opacity")
    (own_phantoms / "test" / "NORMAL").rename(own_phantoms / "test" / "mixed")
    monkeypatch.setattr(module, "_score", lambda *_, **__: pytest.fail("it scored"))
    monkeypatch.setattr(module, "scan_labelled", lambda _: only_normal)
    film = Film("mixed/a.png", "test", Label.NORMAL, "a")
    only_normal = FilmFolder(own_phantoms, (film,))
    with pytest.raises(EvaluationError, match=r"all films to evaluate in .* are NORMAL"):
        evaluated(own_phantoms)


def test_its_own_films_are_known_by_name_and_label(
    evaluated: Evaluate, phantoms: Path, own_phantoms: Path
) -> None:
    result, _ = evaluated(phantoms)
    assert not result.external
    result, _ = evaluated(own_phantoms / "test")  # elsewhere, but the same films
    assert not result.external
    film = sorted((own_phantoms / "test" / "NORMAL").iterdir())[0]
    film.rename(film.with_name("another-hospital.png"))
    result, _ = evaluated(own_phantoms / "test")
    assert result.external


def test_films_of_other_folders_by_a_label_map(
    evaluated: Evaluate, own_phantoms: Path, tmp_path: Path
) -> None:
    renamed = {"NORMAL": "no finding", "PNEUMONIA": "opacity"}
    for label, name in renamed.items():
        (own_phantoms / "test" / label).rename(own_phantoms / "test" / name)
    labels = tmp_path / "labels.toml"
    labels.write_text('NORMAL = ["no finding"]\nPNEUMONIA = ["opacity"]\n')
    result, _ = evaluated(own_phantoms / "test", labels=labels)
    films = result.films("test")
    assert len(films) == 24
    assert all(("opacity" in p) == (y == 1) for p, y in zip(films.path, films.y_true, strict=True))


def test_films_are_measured_and_audited(evaluated: Evaluate, phantoms: Path) -> None:
    result, _ = evaluated(phantoms)
    assert result.film_table is not None
    assert result.film_table.path.tolist() == result.films("test").path.tolist()
    path = str(result.film_table.path[3])
    quality = measure_quality(read_radiograph(phantoms / path))
    assert result.film_table.values["sharpness"][3] == quality.sharpness
    assert result.film_table.values["height_px"][3] == 128
    assert result.audit is not None
    assert result.audit["num_films"] == 60 + 8 + 24
    assert str(phantoms) not in json.dumps(result.audit)
    assert [leak["kind"] for leak in result.audit["splits"]] == ["patient", "stratified"]
    assert result.shift_table is None
    bare, _ = evaluated(phantoms / "test")
    assert bare.audit is None


def test_altered_films_are_scored_with_the_same_network(
    evaluated: Evaluate, phantoms: Path
) -> None:
    result, _ = evaluated(phantoms / "test", robustness=True)
    table = result.shift_table
    assert table is not None
    assert set(table.log_odds) == {CLEAN, *CORRUPTIONS}
    assert table.path.tolist() == result.films("test").path.tolist()
    # Films of 128 px are enlarged to 224 and shrunk to the network's size: nearly the same.
    assert table.log_odds[CLEAN] == pytest.approx(result.films("test").log_odds, abs=0.5)


def test_the_evidence_makes_the_same_report_again(
    finished_run: tuple[Path, Bundle, str], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    out = tmp_path / "out"
    comparison = evaluate(finished_run[1], phantoms, out, console, robustness=False)
    assert comparison.report == out / "report.html"
    again = compare(open_results(out), tmp_path / "again")
    first, second = (json.loads((c / "report.json").read_text()) for c in (out, tmp_path / "again"))
    assert first == second
    html = comparison.report.read_text()
    wrong = html.count("data:image/jpeg;base64,")
    at = comparison.results[0].summaries("test")[1]
    assert wrong == min(6, at["fn"]) + min(6, at["fp"])
    assert "data:image/jpeg" not in again.report.read_text()  # films stay where they are


def test_films_can_be_kept_out_of_the_report(
    finished_run: tuple[Path, Bundle, str], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    comparison = evaluate(
        finished_run[1], phantoms / "test", tmp_path / "out", console,
        robustness=False, gallery=False,
    )  # fmt: skip
    assert "data:image/jpeg" not in comparison.report.read_text()
    assert not (tmp_path / "out" / "gallery").exists()
