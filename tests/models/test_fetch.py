"""Fetching checkpoints from a real server on this machine, honest or not."""

import base64
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pneumoscope.data.download import CHUNK_BYTES
from pneumoscope.errors import FetchError, StorageError, UsageError, WeightsError
from pneumoscope.models import fetch as module
from pneumoscope.models.fetch import CATALOGUE, Checkpoint, Fetched, fetch_weights
from pneumoscope.models.presets import VIT_PRESETS
from pneumoscope.models.weights import find_weights

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TINY = GOLDEN / "tiny_in21k_checkpoint.npz"
CONTENT = TINY.read_bytes()
MD5 = hashlib.md5(CONTENT).hexdigest()
TITLE, NUM_CLASSES = "ViT(48x2)/16", 21
PAGE = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


def stated(content: bytes) -> dict[str, str]:
    """The header of Google's storage; the CRC is not ours to check."""
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    return {"x-goog-hash": f"crc32c=AAAAAA==, md5={md5}"}


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content`` with ranges, or ``server.cut_bytes`` of it and no more."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_HEAD(self) -> None:
        self.server.requests.append(("HEAD", self.path, None))
        self.close_connection = True
        if self.server.head_status != 200:
            self._start(self.server.head_status, 0, **self.server.stated)
        else:
            self._start(200, len(self.server.content), **self.server.stated)

    def do_GET(self) -> None:
        server = self.server
        self.server.requests.append(("GET", self.path, self.headers.get("Range")))
        self.close_connection = True
        if server.get_status != 200:
            self._start(server.get_status, 0)
            return
        offset = int(self.headers.get("Range", "bytes=0-")[6:-1])
        size = len(server.content)
        headers = {"ETag": '"one"', "Content-Type": server.content_type}
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{size - 1}/{size}"
        self._start(206 if offset else 200, size - offset, **headers)
        if server.cut_bytes is not None:
            server.get_status = 503  # and nothing more today
        self.wfile.write(server.content[offset : server.cut_bytes])

    def _start(self, status: int, size_bytes: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(size_bytes), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.content_type = "application/octet-stream"
        self.stated = stated(CONTENT)
        self.head_status = self.get_status = 200
        self.cut_bytes: int | None = None
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def catalogue(self) -> dict[str, Checkpoint]:
        url = f"http://127.0.0.1:{self.server_port}/imagenet21k%2Bmore/tiny.npz"
        return {"Tiny_16": Checkpoint(url, TITLE, NUM_CLASSES)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, no proxy, no certificates, no patience."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pneumoscope.data.download.time.sleep", lambda seconds: None)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def offline() -> dict[str, Checkpoint]:
    """A catalogue of addresses where nobody answers."""
    with Server() as closed:
        return closed.catalogue


def fetch(catalogue: dict[str, Checkpoint], *args: Any, **options: Any) -> Fetched:
    return fetch_weights("Tiny_16", *args, catalogue=catalogue, **{"retries": 0, **options})


def failure(catalogue: dict[str, Checkpoint], folder: Path = Path("weights")) -> str:
    """The first line of the refusal; the others say what to do, and nothing is in its place."""
    with pytest.raises(FetchError) as caught:
        fetch(catalogue, folder)
    assert not (folder / "Tiny_16.npz").exists()
    line, *by_hand = str(caught.value).splitlines()
    searched = " (notebooks/weights/ is searched too)" if folder == Path("weights") else ""
    assert by_hand == [
        "By hand: on any machine with a browser, download",
        f"  {catalogue['Tiny_16'].url}",
        f"  save it as {folder}/Tiny_16.npz{searched},",
        "  and run the same command again, which looks it over offline, or train.",
        "Proxies and certificates: docs/locked-down-networks.md",
    ]
    return line


class TestCatalogue:
    def test_names(self) -> None:
        assert list(CATALOGUE) == [
            "ViT-Ti_16", "ViT-S_16", "ViT-S_32",
            "ViT-B_16", "ViT-B_32", "ViT-L_16", "ViT-L_32",
            "ViT-B_16-in1k", "ViT-B_32-in1k", "ViT-L_16-in1k", "ViT-L_32-in1k",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            (
                "ViT-Ti_16",
                "augreg/Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0"
                "--imagenet2012-steps_20k-lr_0.03-res_224.npz",
            ),
            (
                "ViT-S_16",
                "augreg/S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0"
                "--imagenet2012-steps_20k-lr_0.03-res_224.npz",
            ),
            (
                "ViT-S_32",
                "augreg/S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0"
                "--imagenet2012-steps_20k-lr_0.03-res_224.npz",
            ),
            ("ViT-B_16", "imagenet21k/ViT-B_16.npz"),
            ("ViT-L_32", "imagenet21k/ViT-L_32.npz"),
            ("ViT-B_32-in1k", "imagenet21k%2Bimagenet2012/ViT-B_32.npz"),
            ("ViT-L_16-in1k", "imagenet21k%2Bimagenet2012/ViT-L_16.npz"),
        ],
    )
    def test_addresses(self, name: str, path: str) -> None:
        assert CATALOGUE[name].url == f"https://storage.googleapis.com/vit_models/{path}"

    def test_every_network_can_be_built(self) -> None:
        for name, checkpoint in CATALOGUE.items():
            size, patch = checkpoint.title.removeprefix("ViT-").split("/")
            assert name.startswith(f"ViT-{size}_{patch}")
            assert f"vit_{size.lower()}{patch}" in VIT_PRESETS
            is_raw = size in "BL" and not name.endswith("-in1k")
            assert checkpoint.num_classes == (21_843 if is_raw else 1000)

    @pytest.mark.parametrize(
        ("asked", "near"),
        [
            ("ViT-B_61", "ViT-B_16"),
            ("vit_b16", "ViT-B_16"),
            ("ViT-Ti/16", "ViT-Ti_16"),
            ("vit-l-32-in1k.npz", "ViT-L_32-in1k"),
        ],
    )
    def test_the_nearest_name_is_offered(self, asked: str, near: str) -> None:
        with pytest.raises(UsageError, match=rf"to fetch; did you mean {near}\?$"):
            fetch_weights(asked)
        assert not Path("weights").exists()

    def test_all_names_are_offered_where_none_is_near(self) -> None:
        with pytest.raises(UsageError, match=r"known: ViT-Ti_16, ViT-S_16, .*, ViT-L_32-in1k$"):
            fetch_weights("resnet50")


def test_a_checkpoint_is_fetched_compared_and_found(server: Server) -> None:
    progress: list[tuple[int, int | None]] = []
    fetched = fetch(
        server.catalogue, on_progress=lambda done, total: progress.append((done, total))
    )
    assert (fetched.path, fetched.was_there, fetched.md5) == (
        Path("weights/Tiny_16.npz"), False, MD5,
    )  # fmt: skip
    assert fetched.info.name == TITLE
    assert fetched.info.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert fetched.path.read_bytes() == CONTENT
    assert [path.name for path in Path("weights").iterdir()] == ["Tiny_16.npz"]
    assert find_weights("Tiny_16") == fetched.path
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    path = "/imagenet21k%2Bmore/tiny.npz"  # the + as it must be on the wire
    assert server.requests == [("HEAD", path, None), ("GET", path, None)]


def test_a_folder_of_ones_own(server: Server, tmp_path: Path) -> None:
    Path("weights").mkdir()
    shutil.copy(TINY, "weights/Tiny_16.npz")  # not what was asked for
    fetched = fetch(server.catalogue, tmp_path / "own" / "folder")
    assert fetched.path == tmp_path / "own" / "folder" / "Tiny_16.npz"
    assert not fetched.was_there


class TestPutThereByHand:
    @pytest.mark.parametrize("folder", ["weights", "notebooks/weights"])
    def test_it_is_used_without_any_network(self, server: Server, folder: str) -> None:
        place = Path(folder) / "Tiny_16.npz"
        place.parent.mkdir(parents=True)
        shutil.copy(TINY, place)
        fetched = fetch(server.catalogue)
        assert (fetched.path, fetched.was_there, fetched.md5) == (place, True, None)
        assert fetched.info.num_classes == NUM_CLASSES
        assert server.requests == []
        assert not list(place.parent.glob(".*"))

    def test_another_head_is_its_owners_choice(self, offline: dict[str, Checkpoint]) -> None:
        Path("weights").mkdir()
        shutil.copy(TINY, "weights/Tiny_16.npz")
        other = {"Tiny_16": replace(offline["Tiny_16"], num_classes=1000)}
        assert fetch(other).info.num_classes == NUM_CLASSES

    @pytest.mark.parametrize(
        ("content", "title", "reason"),
        [
            (CONTENT, "ViT-B/16", r"is ViT\(48x2\)/16 where ViT-B/16 belongs"),
            (PAGE, TITLE, "is a web page"),
            (CONTENT[:-1000], TITLE, "is truncated or damaged"),
        ],
    )
    def test_what_is_not_it_is_refused_and_kept(
        self, server: Server, content: bytes, title: str, reason: str
    ) -> None:
        place = Path("weights/Tiny_16.npz")
        place.parent.mkdir()
        place.write_bytes(content)
        catalogue = {"Tiny_16": replace(server.catalogue["Tiny_16"], title=title)}
        with pytest.raises(WeightsError, match=reason) as caught:
            fetch(catalogue)
        assert str(caught.value).endswith("nothing was changed; move it away and run this again")
        assert "\n" not in str(caught.value)
        assert place.read_bytes() == content
        assert server.requests == []


class TestRefused:
    def test_bytes_that_are_not_those_stated(self, server: Server) -> None:
        other = bytes([CONTENT[0], *CONTENT[1:-1], CONTENT[-1] ^ 1])
        server.content = other
        found = hashlib.md5(other).hexdigest()
        line = failure(server.catalogue)
        assert f"did not bring the expected file: md5 {found} where {MD5} was expected" in line
        assert list(Path("weights").iterdir()) == []

    @pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
    def test_a_web_page(self, server: Server, content_type: str) -> None:
        server.content, server.content_type, server.stated = PAGE, content_type, {}
        assert "a web page came instead of the file" in failure(server.catalogue)
        assert list(Path("weights").iterdir()) == []

    @pytest.mark.parametrize(
        ("title", "num_classes", "expected"),
        [
            ("ViT-B/16", NUM_CLASSES, "ViT-B/16 with 21"),
            (TITLE, 1000, r"ViT(48x2)/16 with 1,000"),
        ],
    )
    def test_another_network_than_promised(
        self, server: Server, title: str, num_classes: int, expected: str
    ) -> None:
        promised = Checkpoint(server.catalogue["Tiny_16"].url, title, num_classes)
        line = failure({"Tiny_16": promised})
        assert line == (
            f"{promised.url} did not bring the checkpoint: it is ViT(48x2)/16 with 21 classes "
            f"where {expected} was expected"
        )
        assert list(Path("weights").iterdir()) == []

    def test_what_is_no_checkpoint_though_it_is_as_stated(self, server: Server) -> None:
        server.content = b"nonsense" * 1000
        server.stated = stated(server.content)
        line = failure(server.catalogue)
        assert "did not bring the checkpoint: " in line
        assert "is no zip archive" in line
        assert list(Path("weights").iterdir()) == []

    @pytest.mark.parametrize("code", [403, 404])
    def test_by_the_server_or_a_filter(self, server: Server, code: int) -> None:
        server.head_status = server.get_status = code
        assert f": HTTP {code} " in failure(server.catalogue)
        assert list(Path("weights").iterdir()) == []

    def test_no_network(self, offline: dict[str, Checkpoint], tmp_path: Path) -> None:
        assert ": no connection (Connection refused); check" in failure(offline, tmp_path / "own")
        assert list((tmp_path / "own").iterdir()) == []

    def test_a_proxy_that_refuses(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
        server.head_status = server.get_status = 407
        url = "http://nowhere.invalid/tiny.npz"
        line = failure({"Tiny_16": Checkpoint(url, TITLE, NUM_CLASSES)})
        assert "HTTP 407" in line
        assert "set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT" in line
        assert [path for _, path, _ in server.requests] == [url, url]  # both by the proxy

    def test_certificates_that_are_not_there(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
        catalogue = {"Tiny_16": replace(server.catalogue["Tiny_16"], url="https://nowhere.invalid")}
        assert failure(catalogue).startswith("SSL_CERT_FILE names nowhere.pem, which is not there")


def test_the_next_run_goes_on_where_the_last_was_cut(server: Server) -> None:
    server.cut_bytes = 3 * CHUNK_BYTES
    line = failure(server.catalogue)
    assert f"{3 * CHUNK_BYTES:,} bytes are kept for the next run" in line
    assert Path("weights/.Tiny_16.fetch/Tiny_16.npz.partial").stat().st_size == 3 * CHUNK_BYTES
    server.requests.clear()
    server.cut_bytes, server.get_status = None, 200
    assert fetch(server.catalogue).path.read_bytes() == CONTENT
    assert [(method, asked) for method, _, asked in server.requests] == [
        ("HEAD", None),
        ("GET", f"bytes={3 * CHUNK_BYTES}-"),
    ]
    assert [path.name for path in Path("weights").iterdir()] == ["Tiny_16.npz"]


def test_what_was_downloaded_before_a_crash_is_compared_again(server: Server) -> None:
    place = Path("weights/.Tiny_16.fetch/Tiny_16.npz")
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1] + b"x")
    assert "is not the expected file: md5" in failure(server.catalogue)
    assert fetch(server.catalogue).path.read_bytes() == CONTENT


class TestWhatIsStated:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"x-goog-hash": "crc32c=AAAAAA=="},  # a composite object
            {"x-goog-hash": "crc32c=AAAAAA==, md5=short=="},
        ],
    )
    def test_no_checksum(self, server: Server, headers: dict[str, str]) -> None:
        server.stated = headers
        fetched = fetch(server.catalogue)
        assert fetched.md5 is None
        assert fetched.path.read_bytes() == CONTENT

    @pytest.mark.parametrize("status", [403, 405, 500])
    def test_a_filter_that_refuses_the_question_alone(self, server: Server, status: int) -> None:
        server.head_status = status
        assert fetch(server.catalogue).md5 is None

    def test_two_header_lines_are_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Google sends ``x-goog-hash`` twice; requests joins them."""
        answer = SimpleNamespace(
            status_code=200, headers={"Content-Length": "7", **stated(CONTENT)}
        )
        asked: list[dict[str, Any]] = []

        def head(url: str, **options: Any) -> SimpleNamespace:
            asked.append({"url": url, **options})
            return answer

        monkeypatch.setattr(module.requests, "head", head)
        monkeypatch.setenv("SSL_CERT_FILE", "root.pem")
        assert module._stated("https://x", 3.0) == (7, MD5)
        assert (asked[0]["verify"], asked[0]["timeout"]) == ("root.pem", 3.0)
        del answer.headers["Content-Length"]
        assert module._stated("https://x", 3.0) == (None, MD5)


def test_a_place_that_cannot_be_written(server: Server) -> None:
    Path("weights").touch()
    with pytest.raises(StorageError, match=r"^cannot write weights/\.Tiny_16\.fetch: "):
        fetch(server.catalogue)


def test_a_name_that_cannot_be_given(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    right: Callable[..., Path] = Path.replace

    def replace_path(self: Path, target: Path) -> Path:
        if self.suffix == ".npz":
            raise PermissionError(13, "Permission denied")
        return right(self, target)

    monkeypatch.setattr(Path, "replace", replace_path)
    with pytest.raises(StorageError, match=r"^cannot write weights/Tiny_16\.npz: "):
        fetch(server.catalogue)
