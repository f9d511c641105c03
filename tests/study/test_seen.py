"""A network is never judged on films it was trained on without that being said."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pneumoscope.bundle import Bundle, open_bundle, seal_bundle
from pneumoscope.data.scan import scan_folder, scan_labelled
from pneumoscope.errors import BundleError
from pneumoscope.study.evaluate import evaluate
from pneumoscope.study.seen import FILE, count_seen

FinishedRun = tuple[Path, Bundle, str]


def test_test_films_were_not_seen_and_training_films_were(
    finished_run: FinishedRun, phantoms: Path
) -> None:
    bundle = finished_run[1]
    folder = scan_folder(phantoms)
    assert count_seen(bundle, folder.root, folder.in_folder("test")) == 0
    assert count_seen(bundle, folder.root, folder.in_folder("train")) == 60  # trained or tuned on


def test_a_renamed_copy_is_known_by_content_and_an_altered_one_by_name(
    finished_run: FinishedRun, phantoms: Path, tmp_path: Path
) -> None:
    lines = (finished_run[1].path / FILE).read_text().splitlines()[1:]
    seen = next(p for p in phantoms.rglob("train/*/*") if p.name == lines[0].split(",")[0])
    renamed, altered = tmp_path / "NORMAL" / "renamed.png", tmp_path / "PNEUMONIA" / seen.name
    for path in (renamed, altered):
        path.parent.mkdir()
        shutil.copy(seen, path)
    fresh = next((phantoms / "test" / "NORMAL").iterdir())
    shutil.copy(fresh, tmp_path / "NORMAL" / fresh.name)
    altered.write_bytes(fresh.read_bytes())
    folder = scan_labelled(tmp_path)
    assert count_seen(finished_run[1], folder.root, folder.films) == 2


def test_an_older_bundle_does_not_say(own_run: Path, phantoms: Path) -> None:
    bundle = open_bundle(own_run)
    (bundle.path / FILE).unlink()
    manifest = {k: v for k, v in bundle.manifest.items() if k not in ("files", "sha256")}
    older = seal_bundle(bundle.path, manifest)
    folder = scan_folder(phantoms)
    assert count_seen(older, folder.root, folder.films) is None


def test_an_unsound_record_is_named(own_run: Path, phantoms: Path) -> None:
    bundle = open_bundle(own_run)
    (bundle.path / FILE).write_text("file\na\n")
    folder = scan_folder(phantoms)
    with pytest.raises(BundleError, match="other columns than name, sha256"):
        count_seen(replace(bundle), folder.root, folder.films)


def test_the_report_says_so_first(
    finished_run: FinishedRun, phantoms: Path, tmp_path: Path, console: Console
) -> None:
    comparison = evaluate(
        finished_run[1], phantoms / "train", tmp_path, console, robustness=False, gallery=False
    )
    (result,) = comparison.results
    assert result.num_seen == 60
    text = (tmp_path / "report.md").read_text()
    assert "**was trained or tuned on 60 of these films**" in text
    assert text.index("was trained or tuned on 60") < text.index("## Results at both thresholds")
