"""``pneumoscope weights``: what is printed, and what is refused."""

import json
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pneumoscope.cli import main
from pneumoscope.files import sha256_of
from pneumoscope.models import fetch as module
from pneumoscope.models.fetch import CATALOGUE, Checkpoint, Fetched
from pneumoscope.models.npz_format import WeightsInfo, inspect_npz

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TINY = GOLDEN / "tiny_in21k_checkpoint.npz"

B16 = WeightsInfo(
    name="ViT-B/16", model_name="vit_b16", embed_dim=768, depth=12, num_heads=12, mlp_dim=3072,
    patch_size=16, resolution=224, in_chans=3, num_classes=21_843, representation_size=768,
    num_parameters=103_186_515, naming="pre-linen", sha256="ab" * 32,
)  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server of ``tmp_path/there``, which states no checksums."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    (tmp_path / "there").mkdir()
    handler = partial(Quiet, directory=tmp_path / "there")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["weights", *map(str, words)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def offer(monkeypatch: pytest.MonkeyPatch, url: str, title: str = "ViT(48x2)/16") -> None:
    """Makes one small checkpoint at ``url`` all that there is to fetch."""
    catalogue = {"Tiny_16": Checkpoint(url, title, 21)}
    monkeypatch.setattr(
        module, "fetch_weights", partial(module.fetch_weights, catalogue=catalogue, retries=0)
    )


def test_help_comes_without_heavy_modules() -> None:
    heavy = {"numpy", "torch", "scipy", "requests", "rich.progress", "pneumoscope.models.fetch"}
    code = f"import sys, pneumoscope.cli.weights; print({heavy!r} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "set()", answer.stderr


def test_help_knows_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "fetch", "--help")
    assert status == 0
    for name in CATALOGUE:
        assert name.removesuffix("-in1k") in out
        assert not name.endswith("-in1k") or name[4] in "BL"
    assert "-in1k" in out


class TestInspect:
    def test_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run(capsys, "inspect", TINY)
        assert (status, err) == (0, "")
        assert out.splitlines() == [
            f"file       {TINY}",
            "network    ViT(48x2)/16",
            "model      none: build_model has no network of this size",
            "image size 64 px in patches of 16 px",
            "embed_dim  48",
            "depth      2",
            "heads      3",
            "classes    21",
            "pre_logits 48 wide",
            "parameters 79,173",
            "naming     pre-linen",
            "bytes      330,514",
            f"SHA-256    {sha256_of(TINY)}",
        ]

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "inspect", TINY, "--json")
        assert status == 0
        assert json.loads(out) == {
            "path": str(TINY), "size_bytes": 330_514, "name": "ViT(48x2)/16", "model_name": None,
            "embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_dim": 96, "patch_size": 16,
            "resolution": 64, "in_chans": 3, "num_classes": 21, "representation_size": 48,
            "num_parameters": 79_173, "naming": "pre-linen", "sha256": sha256_of(TINY),
            "recipe": None,
        }  # fmt: skip

    def test_a_name_and_its_recipe(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pneumoscope.models.npz_format.inspect_npz", lambda path: B16)
        Path("notebooks/weights").mkdir(parents=True)
        Path("notebooks/weights/ViT-B_16.npz").touch()
        _, out, _ = run(capsys, "inspect", "ViT-B_16")
        assert "file       notebooks/weights/ViT-B_16.npz\n" in out
        assert "network    ViT-B/16\nmodel      vit_b16\n" in out
        recipe = out.partition("In a recipe:\n")[2]
        assert tomllib.loads(recipe) == {
            "model": {"name": "vit_b16"}, "pretrained": {"weights": "ViT-B_16"},
        }  # fmt: skip

        # Where the name would lead to another file, the recipe has the path.
        Path("weights").mkdir()
        Path("weights/ViT-B_16.npz").touch()
        _, out, _ = run(capsys, "inspect", "notebooks/weights/ViT-B_16.npz", "--json")
        recipe = tomllib.loads(json.loads(out)["recipe"])
        assert recipe["pretrained"]["weights"] == "notebooks/weights/ViT-B_16.npz"

    def test_the_shared_checkpoint(
        self, capsys: pytest.CaptureFixture[str], shared_dir: Path
    ) -> None:
        path = shared_dir / "weights" / "ViT-Ti_16.npz"
        _, out, _ = run(capsys, "inspect", path, "--json")
        found = json.loads(out)
        assert found["size_bytes"] == 22_938_582
        assert (found["name"], found["num_parameters"]) == ("ViT-Ti/16", 5_717_416)
        recipe = {"model": {"name": "vit_ti16"}, "pretrained": {"weights": str(path)}}
        assert tomllib.loads(found["recipe"]) == recipe

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("m.pth", "a PyTorch file"), ("m.PT", "a PyTorch file"), ("m.bin", "a PyTorch file"),
         ("m.safetensors", "a safetensors file")],
    )  # fmt: skip
    def test_other_formats(self, capsys: pytest.CaptureFixture[str], name: str, kind: str) -> None:
        Path(name).write_bytes(b"\x80\x02")
        assert run(capsys, "inspect", name) == (
            1, "",
            f"error: {name} is {kind}; expected Google's .npz layout, and "
            "`pneumoscope weights convert` reads it\n",
        )  # fmt: skip

    def test_what_is_no_checkpoint(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("page.npz").write_text("<html>")
        status, out, err = run(capsys, "inspect", "page.npz")
        assert (status, out) == (1, "")
        assert err.startswith("error: page.npz is a web page (HTML or XML)")
        assert err.count("\n") == 1
        status, _, err = run(capsys, "inspect", "ViT-B_16")
        assert status == 1
        assert err.startswith("error: no weights file weights/ViT-B_16.npz or notebooks/weights/")


class TestFetch:
    def test_from_a_server_that_states_nothing(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, root: str
    ) -> None:
        shutil.copy(TINY, "there/tiny.npz")
        offer(monkeypatch, f"{root}/tiny.npz")
        status, out, err = run(capsys, "fetch", "Tiny_16", "--to", "mine")
        assert (status, err) == (0, "")
        assert out.splitlines()[:3] == [
            "mine/Tiny_16.npz is downloaded; the server stated no checksum to compare it with",
            "file       mine/Tiny_16.npz",
            "network    ViT(48x2)/16",
        ]
        assert sha256_of(Path("mine/Tiny_16.npz")) == sha256_of(TINY)

        status, out, _ = run(capsys, "fetch", "Tiny_16", "--to", "mine")
        assert status == 0
        first = out.splitlines()[0]
        assert first == "mine/Tiny_16.npz was there already; nothing was downloaded"

    def test_what_is_compared_and_shown(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[tuple[object, ...]] = []

        def fetch_weights(*args: object, on_progress: Any) -> Fetched:
            calls.append(args)
            on_progress(1_000_000, 4_000_000)
            return Fetched(TINY, inspect_npz(TINY), was_there=False, md5="0f" * 16)

        monkeypatch.setattr(module, "fetch_weights", fetch_weights)
        monkeypatch.setenv("FORCE_COLOR", "1")  # as if to a terminal
        status, out, err = run(capsys, "fetch", "ViT-B_16")
        assert status == 0
        assert calls == [("ViT-B_16", Path("weights"))]
        assert f"is downloaded; its MD5 {'0f' * 16} is the one that the server states" in out
        assert "downloading ViT-B_16" in err
        assert "1.0/4.0 MB" in err

    def test_without_a_network(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, root: str
    ) -> None:
        offer(monkeypatch, f"{root}/gone.npz")
        status, out, err = run(capsys, "fetch", "Tiny_16")
        assert (status, out) == (1, "")
        first, *by_hand = err.splitlines()
        assert first.startswith(f"error: {root}/gone.npz: HTTP 404 ")
        assert by_hand[0] == "By hand: on any machine with a browser, download"
        assert "  save it as weights/Tiny_16.npz (notebooks/weights/ is searched too)," in by_hand

        # The instructions hold: the same command then accepts the file.
        shutil.copy(TINY, "weights/Tiny_16.npz")
        status, out, err = run(capsys, "fetch", "Tiny_16")
        assert (status, err) == (0, "")
        assert out.startswith("weights/Tiny_16.npz was there already; nothing was downloaded\n")

    def test_another_network_under_that_name(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, root: str
    ) -> None:
        shutil.copy(TINY, "there/tiny.npz")
        offer(monkeypatch, f"{root}/tiny.npz", title="ViT-B/16")
        status, _, err = run(capsys, "fetch", "Tiny_16")
        assert status == 1
        assert "it is ViT(48x2)/16 with 21 classes where ViT-B/16 with 21 was expected\n" in err
        assert list(Path("weights").iterdir()) == []

    def test_an_unknown_name_is_wrong_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(capsys, "fetch", "vit_b16") == (
            2, "", "error: no weights 'vit_b16' to fetch; did you mean ViT-B_16?\n",
        )  # fmt: skip
