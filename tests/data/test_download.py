"""The download against a real server on this machine that misbehaves in every known way."""

import errno
import hashlib
import random
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from pneumoscope.data.download import CHUNK_BYTES, MAX_REDIRECTS, download
from pneumoscope.errors import FetchError, StorageError

CONTENT = random.Random(0).randbytes(5 * CHUNK_BYTES + 123)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(len(CONTENT))

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the next of the server's answers, then with the last again."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        answers = self.server.answers
        self.server.requests.append((self.path, dict(self.headers)))
        self.close_connection = True
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def do_CONNECT(self) -> None:  # what a proxy is asked for https
        self.do_GET()

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.server.bytes_sent += len(body)  # first: the client may be done before this thread
        self.wfile.write(body)

    @property
    def offset(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [whole]
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.bytes_sent = 0
        self.stopping = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up on bad answers here; that is no news."""

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


def whole(handler: Handler) -> None:
    handler.reply(200, CONTENT, ETag='"one"')


def ranged(handler: Handler, content: bytes = CONTENT, etag: str = '"one"') -> None:
    """A server as it should be: If-Range decides between the rest and the whole."""
    offset = handler.offset
    if not offset or handler.headers.get("If-Range", etag) != etag:
        handler.reply(200, content, ETag=etag)
    else:
        content_range = f"bytes {offset}-{len(content) - 1}/{len(content)}"
        handler.reply(206, content[offset:], ETag=etag, Content_Range=content_range)


def ranged_in_pieces(num_bytes: int) -> Answer:
    """Honours Range but breaks off after ``num_bytes`` each time."""

    def answer(handler: Handler) -> None:
        offset = handler.offset
        headers = {"ETag": '"one"', "Content_Length": str(len(CONTENT) - offset)}
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{len(CONTENT) - 1}/{len(CONTENT)}"
        handler.reply(206 if offset else 200, CONTENT[offset : offset + num_bytes], **headers)

    return answer


def truncated(num_bytes: int, **headers: str) -> Answer:
    """Announces the whole, ignores Range, and breaks off after ``num_bytes``."""
    headers = {"Content_Length": str(len(CONTENT)), **headers}
    return lambda handler: handler.reply(200, CONTENT[:num_bytes], **headers)


def stalled(num_bytes: int) -> Answer:
    def answer(handler: Handler) -> None:
        handler.reply(200, CONTENT[:num_bytes], Content_Length=str(len(CONTENT)), ETag='"one"')
        handler.wfile.flush()
        handler.server.stopping.wait(5)

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.reply(code, b"no")


def web_page(content_type: str) -> Answer:
    page = b"\n<!DOCTYPE html><html><body>Please sign in</body></html>"
    return lambda handler: handler.reply(200, page, Content_Type=content_type)


def redirect(location: str) -> Answer:
    return lambda handler: handler.reply(302, b"", Location=location)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.stopping.set()
        running.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, **options: object) -> Path:
    settings: dict[str, object] = {
        "sha256": SHA256,
        "size_bytes": len(CONTENT),
        "timeout_s": 60.0,  # only the tests of stalling are short of patience
        "retries": 2,
        "backoff_s": 0.001,
        **options,
    }
    return download(f"{server.root}/file.bin", folder / "file.bin", **settings)  # type: ignore[arg-type]


def failure(server: Server, folder: Path, **options: object) -> str:
    """Downloads, and returns the message of the error; nothing may stand under the final name."""
    with pytest.raises(FetchError) as caught:
        fetch(server, folder, **options)
    assert not (folder / "file.bin").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_file_is_fetched_verified_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    progress: list[tuple[int, int | None]] = []
    folder = tmp_path / "new" / "folder"
    path = fetch(server, folder, on_progress=lambda done, total: progress.append((done, total)))
    assert path == folder / "file.bin"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in folder.iterdir() if p.suffix != ".lock"] == ["file.bin"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in progress] == sorted({done for done, _ in progress})


def test_a_verified_file_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    fetch(server, tmp_path)
    assert server.requests == []


def test_another_file_of_that_name_is_refused_and_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(OTHER)
    with pytest.raises(FetchError, match=rf"{path} is not the expected file: sha256 .* move it"):
        fetch(server, tmp_path)
    assert path.read_bytes() == OTHER
    assert server.requests == []


def test_md5_is_enough_where_nothing_better_is_published(server: Server, tmp_path: Path) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert fetch(server, tmp_path / "a", sha256=None, md5=md5.upper()).read_bytes() == CONTENT
    message = failure(server, tmp_path / "b", sha256=None, md5="0" * 32)
    assert f"md5 {md5} where {'0' * 32} was expected" in message


def test_a_broken_transfer_is_resumed_without_sending_a_byte_twice(
    server: Server, tmp_path: Path
) -> None:
    # Five interruptions and two retries: each attempt that gets further renews the allowance.
    server.answers = [ranged_in_pieces(CHUNK_BYTES)]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)
    offsets = [i * CHUNK_BYTES for i in range(1, 6)]
    assert server.ranges == [None, *(f"bytes={offset}-" for offset in offsets)]


def test_another_run_resumes_what_a_failed_run_left(server: Server, tmp_path: Path) -> None:
    server.answers = [truncated(3 * CHUNK_BYTES, ETag='"one"')]
    message = failure(server, tmp_path, retries=0)
    assert f"broke off after {3 * CHUNK_BYTES:,} bytes" in message
    assert f"{3 * CHUNK_BYTES:,} bytes are kept for the next run" in message
    server.answers = [ranged]
    server.bytes_sent = 0
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT) - 3 * CHUNK_BYTES
    assert server.requests[-1][1]["If-Range"] == '"one"'
    assert not list(tmp_path.glob("*.partial*"))


def test_a_partial_file_that_is_whole_needs_no_server(server: Server, tmp_path: Path) -> None:
    server.answers = [truncated(3 * CHUNK_BYTES, ETag='"one"')]
    failure(server, tmp_path, retries=0)
    (tmp_path / "file.bin.partial").write_bytes(CONTENT)
    server.requests.clear()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_a_partial_file_of_unknown_origin_is_not_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.partial").write_bytes(OTHER[:1000])
    server.answers = [ranged]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_without_validator_and_checksum_nothing_is_continued(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [truncated(CHUNK_BYTES), whole]
    path = fetch(server, tmp_path, sha256=None, size_bytes=None)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_weak_etag_is_no_proof_but_a_date_is(server: Server, tmp_path: Path) -> None:
    date = "Wed, 03 Jan 2018 00:00:00 GMT"
    server.answers = [truncated(CHUNK_BYTES, ETag='W/"one"', Last_Modified=date), whole]
    fetch(server, tmp_path)
    assert server.requests[1][1]["If-Range"] == date


def test_a_file_that_changed_on_the_server_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.answers = [
        lambda handler: handler.reply(
            200, OTHER[:CHUNK_BYTES], ETag='"zero"', Content_Length=str(len(CONTENT))
        ),
        ranged,
    ]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={CHUNK_BYTES}-"]


def test_a_change_that_the_server_hides_is_found_by_the_checksum(
    server: Server, tmp_path: Path
) -> None:
    """The rest is of another version, under the same ETag: the two halves do not fit."""
    server.answers = [
        lambda handler: handler.reply(
            200, OTHER[:CHUNK_BYTES], ETag='"one"', Content_Length=str(len(CONTENT))
        ),
        ranged,
    ]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={CHUNK_BYTES}-", None]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(whole, id="Range is ignored"),
        pytest.param(status(416), id="416"),
        pytest.param(
            lambda handler: handler.reply(
                206,
                CONTENT[5 : 5 + len(CONTENT) - handler.offset],  # as many bytes as are missing
                Content_Range=f"bytes 5-{4 + len(CONTENT) - handler.offset}/{len(CONTENT)}",
            ),
            id="wrong offset",
        ),
        pytest.param(lambda handler: handler.reply(206, CONTENT), id="no Content-Range"),
        pytest.param(
            lambda handler: handler.reply(
                206,
                OTHER[handler.offset :],
                ETag='"two"',
                Content_Range=f"bytes {handler.offset}-{len(CONTENT) - 1}/{len(CONTENT)}",
            ),
            id="rest of another file",
        ),
    ],
)
def test_a_bad_answer_to_a_range_request_restarts_cleanly(
    server: Server, tmp_path: Path, second: Answer
) -> None:
    server.answers = [truncated(CHUNK_BYTES, ETag='"one"'), second, whole]
    assert fetch(server, tmp_path, sha256=None).read_bytes() == CONTENT
    assert server.ranges[1] == f"bytes={CHUNK_BYTES}-"
    assert all(asked is None for asked in server.ranges[2:])


def test_a_stalled_transfer_is_given_up_and_resumed(server: Server, tmp_path: Path) -> None:
    server.answers = [stalled(2 * CHUNK_BYTES), ranged]
    # On a busy machine an honest answer may also take longer: hence the retries.
    assert fetch(server, tmp_path, timeout_s=0.3, retries=20).read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert None not in server.ranges[1:]


def test_a_server_that_always_stalls_is_named(server: Server, tmp_path: Path) -> None:
    server.answers = [stalled(0)]
    message = failure(server, tmp_path, timeout_s=0.1, retries=1)
    assert "nothing came for 0.1 s; check the network, or set HTTPS_PROXY" in message
    assert len(server.requests) <= 2


def test_a_body_that_always_ends_early_ends_in_an_error(server: Server, tmp_path: Path) -> None:
    server.answers = [truncated(CHUNK_BYTES)]
    message = failure(server, tmp_path, retries=2)
    assert f"broke off after {CHUNK_BYTES:,} bytes" in message
    assert len(server.requests) == 4  # the first brought something new, the two retries nothing


def test_an_early_end_without_any_length_is_noticed_by_the_known_size(
    server: Server, tmp_path: Path
) -> None:
    def without_length(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:1000])

    server.answers = [without_length]
    message = failure(server, tmp_path, retries=0)
    assert f"ended after 1,000 of {len(CONTENT):,} bytes" in message


@pytest.mark.parametrize("announced", [len(CONTENT) - 1000, len(CONTENT) + 1000])
def test_a_wrong_announced_length_is_refused_before_the_body(
    server: Server, tmp_path: Path, announced: int
) -> None:
    server.answers = [lambda handler: handler.reply(200, CONTENT, Content_Length=str(announced))]
    message = failure(server, tmp_path)
    assert f"announces {announced:,} bytes where {len(CONTENT):,} were expected" in message
    assert len(server.requests) == 1


def test_a_length_announced_too_short_is_found_by_the_checksum(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [lambda handler: handler.reply(200, CONTENT, Content_Length="1000")]
    message = failure(server, tmp_path, size_bytes=None)
    assert f"sha256 {hashlib.sha256(CONTENT[:1000]).hexdigest()} where {SHA256}" in message


def test_a_length_announced_too_long_is_found_by_the_end(server: Server, tmp_path: Path) -> None:
    length = str(len(CONTENT) + 1000)
    server.answers = [lambda handler: handler.reply(200, CONTENT, Content_Length=length)]
    message = failure(server, tmp_path, size_bytes=None, retries=1)
    assert f"broke off after {5 * CHUNK_BYTES:,} bytes" in message


def test_two_lengths_that_differ_are_an_error_in_words(server: Server, tmp_path: Path) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5")
        handler.send_header("Content-Length", "7")
        handler.end_headers()

    server.answers = [answer]
    assert "makes no sense (Content-Length contained multiple" in failure(server, tmp_path)


def test_a_body_longer_than_expected_is_cut_off(server: Server, tmp_path: Path) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT * 3)

    server.answers = [endless]
    message = failure(server, tmp_path)
    assert f"bytes where {len(CONTENT):,} were expected" in message
    assert f"{3 * len(CONTENT):,}" not in message
    assert not list(tmp_path.glob("*.partial"))


def test_other_bytes_are_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: handler.reply(200, OTHER)]
    message = failure(server, tmp_path)
    assert f"sha256 {hashlib.sha256(OTHER).hexdigest()} where {SHA256} was expected" in message
    assert len(server.requests) == 1
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (401, "wants a login"),
        (403, "access is refused"),
        (404, "no such file is there"),
        (407, "set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
        (418, "try again later"),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(
    server: Server, tmp_path: Path, code: int, advice: str
) -> None:
    server.answers = [status(code)]
    message = failure(server, tmp_path)
    assert f"HTTP {code} " in message
    assert advice in message
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, code: int) -> None:
    server.answers = [status(code), status(code), whole]
    assert fetch(server, tmp_path, retries=2).read_bytes() == CONTENT
    server.answers = [status(code)]
    message = failure(server, tmp_path / "again", retries=2)
    assert f"HTTP {code} " in message
    assert "try again later" in message
    assert len(server.requests) == 6


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/zip"])
def test_a_login_page_is_recognised(server: Server, tmp_path: Path, content_type: str) -> None:
    server.answers = [web_page(content_type)]
    message = failure(server, tmp_path, sha256=None, size_bytes=None)
    assert "a web page came instead of the file" in message


def test_a_login_page_in_between_destroys_nothing(server: Server, tmp_path: Path) -> None:
    server.answers = [truncated(CHUNK_BYTES, ETag='"one"'), web_page("text/html")]
    failure(server, tmp_path)
    assert (tmp_path / "file.bin.partial").read_bytes() == CONTENT[:CHUNK_BYTES]
    server.answers = [ranged]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={CHUNK_BYTES}-"


def test_redirects_are_followed_and_a_loop_is_left(server: Server, tmp_path: Path) -> None:
    server.answers = [redirect("/elsewhere"), redirect(f"{server.root}/there"), whole]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/file.bin", "/elsewhere", "/there"]
    server.requests.clear()
    server.answers = [redirect("/file.bin")]
    assert f"redirected more than {MAX_REDIRECTS} times" in failure(server, tmp_path / "b")
    assert len(server.requests) == MAX_REDIRECTS + 1


def test_a_dead_address_is_one_line(tmp_path: Path) -> None:
    with Server() as closed:
        port = closed.server_port
    with pytest.raises(FetchError, match=r"^\S+: no connection \(Connection refused\); check"):
        download(
            f"http://127.0.0.1:{port}/x",
            tmp_path / "x",
            sha256=None,
            size_bytes=None,
            retries=1,
            backoff_s=0.001,
        )


@pytest.mark.parametrize("url", ["file.bin", "ftp://127.0.0.1/file.bin", "http://"])
def test_what_is_no_url_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match="not a URL that can be downloaded"):
        download(url, tmp_path / "x", sha256=None, size_bytes=None)


def test_http_proxy_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.root)
    url = "http://nowhere.invalid/file.bin"
    download(url, tmp_path / "x", sha256=SHA256, size_bytes=None)
    assert server.requests[0][0] == url  # only a proxy is asked with a whole URL


def test_no_proxy_is_honoured(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://nowhere.invalid:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_proxy_that_wants_a_login_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.root)
    server.answers = [status(407)]
    with pytest.raises(
        FetchError, match=r"HTTP 407; .*HTTPS_PROXY=http://USER:PASSWORD@"
    ) as caught:
        download("https://nowhere.invalid/x", tmp_path / "x", sha256=None, size_bytes=None)
    assert "\n" not in str(caught.value)
    assert server.requests[0][0] == "nowhere.invalid:443"


def test_a_proxy_that_is_not_there_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as closed:
        port = closed.server_port
    monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{port}")
    with pytest.raises(FetchError, match=r"the proxy does not answer \(Connection ref") as caught:
        download(
            "http://nowhere.invalid/x", tmp_path / "x", sha256=None, size_bytes=None, retries=0
        )
    assert "secret" not in str(caught.value)


@pytest.fixture
def tls_server(server: Server, tmp_path: Path) -> Server:
    """The server behind a certificate that nobody has signed: ``tmp_path/root.pem``."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    options = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=test"
    options += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [openssl, *options.split(), "-keyout", tmp_path / "key.pem", "-out", tmp_path / "root.pem"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "root.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_an_untrusted_certificate_names_the_variables_to_set(
    tls_server: Server, tmp_path: Path
) -> None:
    url = f"https://127.0.0.1:{tls_server.server_port}/x"
    with pytest.raises(FetchError, match=r"not trusted .*REQUESTS_CA_BUNDLE \(or SSL_CERT_FILE\)"):
        download(url, tmp_path / "x", sha256=SHA256, size_bytes=None)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_each_certificate_variable_is_honoured(
    tls_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "root.pem"))
    url = f"https://127.0.0.1:{tls_server.server_port}/x"
    assert download(url, tmp_path / "x", sha256=SHA256, size_bytes=None).read_bytes() == CONTENT


def test_a_certificate_variable_that_names_nothing_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    assert "SSL_CERT_FILE names" in failure(server, tmp_path)


def test_two_processes_do_not_write_one_file(server: Server, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".file.bin.lock"):
        assert "another process is downloading" in failure(server, tmp_path)
    assert server.requests == []


def test_a_full_disk_is_a_storage_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.open

    def full(path: Path, mode: str = "r", *args: object, **options: object) -> object:
        if mode == "ab":
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, mode, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="no space is left there") as caught:
        fetch(server, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "file.bin").exists()
