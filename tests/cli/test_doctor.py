"""The doctor: what it finds, what it advises, what it keeps to itself."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pneumoscope.bundle import CONTENT, Bundle, seal_bundle
from pneumoscope.cli import main
from pneumoscope.study import checks as module
from pneumoscope.study.checks import Check, run_checks

NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundles" / "cnn"
    folder.mkdir(parents=True)
    for name in CONTENT:
        (folder / name).write_text("{}")
    return seal_bundle(folder, {"name": "cnn", "seed": 0})


@pytest.fixture(autouse=True)
def healthy(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where nothing needed is missing, in a folder without films."""
    monkeypatch.chdir(tmp_path)
    for name in NETWORK:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "shipped_bundles", lambda: {"cnn": bundle.path})


def found(what: str) -> Check:
    (check,) = [check for check in run_checks() if check.what == what]
    return check


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Hides installed packages."""
    right = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> Any:
        return None if name in names else right(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def doctor(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["doctor"])
    printed = capsys.readouterr()
    assert printed.err == ""
    return status, printed.out


def test_health_is_zero_and_every_check_has_its_line(
    capsys: pytest.CaptureFixture[str], bundle: Bundle
) -> None:
    status, text = doctor(capsys)
    assert status == 0
    assert "MISSING" not in text
    for what in (
        "Python",
        "torch",
        "DICOM decoders",
        "films",
        "bundles",
        "cache",
        "disk",
        "Kaggle",
    ):
        assert what in text
    assert bundle.model_id in text


class TestBundles:
    def test_absent(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "shipped_bundles", dict)
        status, text = doctor(capsys)
        assert status == 1
        (line,) = [line for line in text.splitlines() if "MISSING" in line]
        assert "none shipped" in line
        assert "install the package again, or train one" in line

    def test_changed(self, capsys: pytest.CaptureFixture[str], bundle: Bundle) -> None:
        (bundle.path / "metrics.json").write_text("{ }")
        check = found("bundles")
        assert (check.state, check.advice) == ("missing", "install the package again")
        assert check.found.startswith(f"{bundle.path / 'metrics.json'} was changed after")
        assert doctor(capsys)[0] == 1


class TestFilms:
    def test_absent_is_worth_a_note(self) -> None:
        assert found("films") == Check(
            "note", "films", "none in Data/chest_xray; studies run on phantoms",
            "pneumoscope data fetch",
        )  # fmt: skip

    def test_present(self, phantoms: Path) -> None:
        shutil.copytree(phantoms, "Data/chest_xray")
        assert found("films") == Check("ok", "films", "92 in Data/chest_xray")

    def test_incomplete(self, phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(phantoms, "Data/chest_xray")
        shutil.rmtree("Data/chest_xray/test/NORMAL")
        check = found("films")
        assert check.state == "missing"
        assert check.found.startswith("Data/chest_xray/test/NORMAL is missing; expected films")
        assert doctor(capsys)[0] == 1


class TestWeights:
    def test_absent_is_worth_a_note(self) -> None:
        assert found("pretrained weights") == Check(
            "note", "pretrained weights", "none in weights or notebooks/weights",
            "to fine-tune: pneumoscope weights fetch ViT-Ti_16",
        )  # fmt: skip

    def test_both_folders_are_listed(self) -> None:
        for name in ("weights/b.npz", "weights/a.npz", "weights/c.txt", "notebooks/weights/d.npz"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
        assert found("pretrained weights") == Check(
            "ok", "pretrained weights", "weights/a.npz, weights/b.npz, notebooks/weights/d.npz"
        )


class TestNetwork:
    def test_passwords_are_not_shown(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://doctor:s3cret@proxy.hospital:3128")
        monkeypatch.setenv("http_proxy", "http://doctor:s3cret@proxy.hospital:3128")
        status, text = doctor(capsys)
        assert status == 0
        assert "HTTPS_PROXY, HTTP_PROXY set" in text
        for secret in ("s3cret", "doctor:", "proxy.hospital"):
            assert secret not in text

    @pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
    def test_a_certificate_that_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(name, "certificates.pem")
        check = found("network")
        assert check.state == "missing"
        assert check.found == f"{name} names certificates.pem, which is not there"
        (tmp_path / "certificates.pem").touch()
        assert found("network") == Check("ok", "network", f"{name} set")

    def test_nothing_set(self) -> None:
        assert found("network") == Check("ok", "network", "no proxy set")


def test_advice_keeps_its_brackets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "kagglehub", "tensorboard")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    status, text = doctor(capsys)
    assert status == 0  # extras are no need
    assert "pip install 'pneumoscope[kaggle]'" in text
    assert "pip install 'pneumoscope[tensorboard]'" in text


def test_a_decoder_that_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "gdcm", "jpeg_ls")
    assert found("DICOM decoders") == Check(
        "missing", "DICOM decoders", "no python-gdcm, pyjpegls", "pip install them"
    )
    assert doctor(capsys)[0] == 1


def test_a_package_that_cannot_be_imported_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def _device() -> Check:
        raise ImportError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr(module, "_device", _device)
    assert found("device") == Check(
        "missing", "device", "libtorch.so: cannot open shared object file",
        "install pneumoscope again",
    )  # fmt: skip


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path / "file" / "cache"))
    check = found("cache")
    assert (check.state, check.advice) == ("missing", "set PNEUMOSCOPE_CACHE to another folder")
    assert check.found.startswith(f"cannot write {tmp_path / 'file' / 'cache'}: Not a directory")


@pytest.mark.parametrize(("free", "state"), [(10 * 2**30, "ok"), (2**30, "note")])
def test_room_on_the_disk(monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    check = found("disk")
    assert (check.state, check.found) == (state, f"{free / 2**30:.1f} GiB free here")
