"""One download over HTTP: resumable, verified, and clear about what went wrong.

The rules, in short: a file stands under its own name only once its size and checksum fit;
until then its bytes lie in ``<name>.partial``, and the next attempt, or the next run, goes on
from there when the server can prove that it still offers the same bytes.

Proxies come from ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``; certificates from
``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` or ``SSL_CERT_FILE``, the first that is set.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import requests
from filelock import FileLock, Timeout

from pneumoscope.errors import FetchError
from pneumoscope.files import make_folder, storage_error, write_json

Progress = Callable[[int, int | None], None]
"""Called with the bytes done so far and the bytes in all (None where nobody says)."""

CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
MAX_REDIRECTS = 10
MAX_BACKOFF_S = 30.0
CHUNK_BYTES = 1 << 16

_TRY_LATER = "the server is busy or broken; try again later"
_RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_STATUS_ADVICE = {
    401: "it wants a login; download the file in a browser and put it in place by hand",
    403: "access is refused, perhaps by a filter of this network; "
    "try a browser or another network, and put the file in place by hand",
    404: "no such file is there any more; look for its new place on its page",
    407: "the proxy wants a login; set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
    410: "no such file is there any more; look for its new place on its page",
}


class _InterruptedError(Exception):
    """The transfer broke off; what came so far is kept, and another attempt may help."""


@dataclass(frozen=True)
class _Expected:
    """What is known beforehand about the file; None where nothing is."""

    size_bytes: int | None
    sha256: str | None
    md5: str | None

    @property
    def has_checksum(self) -> bool:
        return self.sha256 is not None or self.md5 is not None

    def mismatch(self, path: Path) -> str | None:
        """Returns what differs, in words, or None where everything known fits."""
        size_bytes = path.stat().st_size
        if self.size_bytes is not None and size_bytes != self.size_bytes:
            return f"{size_bytes:,} bytes where {self.size_bytes:,} were expected"
        for algorithm, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected is not None:
                with path.open("rb") as stream:
                    found = hashlib.file_digest(stream, algorithm).hexdigest()
                if found != expected.lower():
                    return f"{algorithm} {found} where {expected.lower()} was expected"
        return None


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size_bytes: int | None,
    md5: str | None = None,
    timeout_s: float = 30.0,
    retries: int = 5,
    backoff_s: float = 1.0,
    on_progress: Progress | None = None,
) -> Path:
    """Returns ``target``, which holds the verified bytes of ``url``.

    A ``target`` that is already there is verified and returned without any network, so a
    file that was put in place by hand is as good as one that was downloaded.

    Args:
        url: ``http`` or ``https``; redirects are followed, ten at most.
        target: the file to make; its folder is made where it is missing.
        sha256: expected SHA-256 in hex, or None where none is published.
        size_bytes: expected size, or None. Without size and checksum all that can be
            noticed is a body shorter than the server announced.
        md5: expected MD5 in hex, for servers that publish nothing better.
        timeout_s: longest wait for a connection, and for the next bytes.
        retries: further attempts that may bring nothing new before it gives up; an attempt
            that gets further than all before it starts the count again.
        backoff_s: pause before the second attempt; it doubles with each further one.
        on_progress: called as the bytes come.

    Raises:
        FetchError: the file cannot be had, or is not the expected one. What came so far
            stays in ``<name>.partial`` where another run can use it.
        StorageError: it cannot be written (no space, no permission).
    """
    expected = _Expected(size_bytes, sha256, md5)
    if target.exists():
        if difference := expected.mismatch(target):
            raise FetchError(
                f"{target} is not the expected file: {difference}; move it away and run this again"
            )
        return target
    make_folder(target.parent)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FetchError(
            f"another process is downloading {target}; wait for it, or stop it"
        ) from None
    try:
        transfer = _Transfer(url, target, expected, timeout_s, on_progress)
        transfer.run(retries, backoff_s)
    finally:
        lock.release()
    return target


class _Transfer:
    """The bytes of one URL on their way into ``<name>.partial``."""

    def __init__(
        self,
        url: str,
        target: Path,
        expected: _Expected,
        timeout_s: float,
        on_progress: Progress | None,
    ) -> None:
        self.url = url
        self.target = target
        self.expected = expected
        self.timeout_s = timeout_s
        self.on_progress = on_progress
        self.partial = target.with_name(f"{target.name}.partial")
        # Beside the bytes lies what they are bytes of; without it they are not continued.
        self.origin = target.with_name(f"{target.name}.partial.json")
        self.was_resumed = False
        self.session = requests.Session()
        self.session.max_redirects = MAX_REDIRECTS
        self.certificates = _certificates()

    def run(self, retries: int, backoff_s: float) -> None:
        """Attempts until the file is whole and verified, then gives it its name."""
        failures = 0
        most_bytes = self._partial_bytes()
        with self.session:
            while True:
                try:
                    self._attempt()
                    if self._publish():
                        return
                except _InterruptedError as interruption:
                    reached = self._partial_bytes()
                    failures = 0 if reached > most_bytes else failures + 1
                    most_bytes = max(most_bytes, reached)
                    if failures > retries:
                        kept = f"; {reached:,} bytes are kept for the next run" if reached else ""
                        raise FetchError(f"{self.url}: {interruption}{kept}") from interruption
                    time.sleep(min(backoff_s * 2**failures, MAX_BACKOFF_S))

    def _attempt(self) -> None:
        """Asks for the missing bytes once and appends what comes."""
        offset, validator = self._resume_point()
        if offset and offset == self.expected.size_bytes:
            self.was_resumed = True
            return
        # identity: a compressed answer has neither the length nor the offsets of the file.
        headers = {"User-Agent": "pneumoscope", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator:
                headers["If-Range"] = validator
        try:
            with self.session.get(
                self.url,
                headers=headers,
                stream=True,
                timeout=self.timeout_s,
                verify=self.certificates,
            ) as response:
                self._receive(response, offset, validator)
        except requests.RequestException as error:
            raise self._explained(error) from error
        except OSError as error:
            raise storage_error(self.partial, error) from error

    def _receive(self, response: requests.Response, offset: int, validator: str | None) -> None:
        """Checks the answer, then writes its body; nothing is lost for a bad answer."""
        status = response.status_code
        if status == 416 or (status == 206 and not _continues(response, offset, validator)):
            self._discard()
            raise _InterruptedError("the server no longer offers the rest of the same file")
        if status not in (200, 206):
            answer = f"HTTP {status} {response.reason}"
            if status in _RETRIED_STATUSES:
                raise _InterruptedError(f"{answer}; {_TRY_LATER}")
            advice = _STATUS_ADVICE.get(status, "try again later, or put it in place by hand")
            raise FetchError(f"{self.url}: {answer}; {advice}")

        done = offset if status == 206 else 0
        total = _total_bytes(response)
        if None not in (total, self.expected.size_bytes) and total != self.expected.size_bytes:
            raise FetchError(
                f"{self.url}: the server announces {total:,} bytes where "
                f"{self.expected.size_bytes:,} were expected; the file was replaced there, or a "
                "filter of this network answers in its stead"
            )
        chunks = response.iter_content(CHUNK_BYTES)
        first = next(chunks, b"")
        if _is_web_page(response, first if done == 0 else b""):
            raise FetchError(
                f"{self.url}: a web page came instead of the file, perhaps the login page of "
                "this network; sign in with a browser, or set HTTPS_PROXY, and run this again"
            )
        self.was_resumed = done > 0
        if done == 0:
            # Truncated before the note changes: old bytes must never pass for new ones.
            self.partial.write_bytes(b"")
            write_json(self.origin, {"url": self.url, "validator": _validator(response)})
        with self.partial.open("ab") as stream:
            for chunk in chain([first], chunks):
                stream.write(chunk)
                done += len(chunk)
                if self.expected.size_bytes is not None and done > self.expected.size_bytes:
                    break
                if self.on_progress:
                    self.on_progress(done, self.expected.size_bytes or total)
        wanted = self.expected.size_bytes or total
        if wanted is not None and done < wanted:
            raise _InterruptedError(f"the body ended after {done:,} of {wanted:,} bytes")

    def _publish(self) -> bool:
        """Returns whether the partial file was verified and now bears its final name.

        A resumed file that does not fit is thrown away and fetched anew once: its first
        part may be from before a change on the server.
        """
        difference = self.expected.mismatch(self.partial)
        if difference is None:
            try:
                with self.partial.open("rb+") as stream:
                    os.fsync(stream.fileno())
                self.partial.replace(self.target)
            except OSError as error:
                raise storage_error(self.target, error) from error
            self.origin.unlink(missing_ok=True)
            return True
        self._discard()
        if not self.was_resumed:
            raise FetchError(
                f"{self.url} did not bring the expected file: {difference}; it was replaced "
                "there, or changed on the way by a proxy"
            )
        self.was_resumed = False
        return False

    def _partial_bytes(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _resume_point(self) -> tuple[int, str | None]:
        """Returns how many bytes are here to go on from, and the validator they came with."""
        try:
            origin = json.loads(self.origin.read_text())
            validator = origin["validator"]
            same_url = origin["url"] == self.url
        except (OSError, ValueError, KeyError, TypeError):
            return 0, None
        # With no validator only the checksum can tell whether two halves belong together.
        if not same_url or not (validator or self.expected.has_checksum):
            return 0, None
        num_bytes = self._partial_bytes()
        if self.expected.size_bytes is not None and num_bytes > self.expected.size_bytes:
            return 0, None
        return num_bytes, validator

    def _discard(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)

    def _explained(self, error: requests.RequestException) -> Exception:
        """Returns the error in our words: final, or an interruption that may be retried."""
        text = str(error)
        exceptions = requests.exceptions
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return FetchError(
                f"{self.url}: its TLS certificate is not trusted here; behind an inspecting "
                f"proxy set {CERTIFICATE_VARIABLES[0]} (or {CERTIFICATE_VARIABLES[2]}) to the "
                "PEM file with your organisation's root certificate"
            )
        if isinstance(error, exceptions.TooManyRedirects):
            return FetchError(
                f"{self.url}: redirected more than {MAX_REDIRECTS} times, perhaps in a loop; "
                "open it in a browser to see where it leads"
            )
        if isinstance(error, exceptions.ProxyError) and " 407 " in text:
            return FetchError(f"{self.url}: HTTP 407; {_STATUS_ADVICE[407]}")
        if isinstance(error, exceptions.InvalidProxyURL):
            return FetchError("the proxy's address has no form of one; correct HTTPS_PROXY")
        if isinstance(
            error, exceptions.MissingSchema | exceptions.InvalidSchema | exceptions.InvalidURL
        ):
            return FetchError(f"{self.url}: not a URL that can be downloaded; check its spelling")
        if isinstance(error, exceptions.Timeout) or "timed out" in text:
            reason = f"nothing came for {self.timeout_s:g} s"
        elif isinstance(error, exceptions.ChunkedEncodingError):
            reason = f"the connection broke off after {self._partial_bytes():,} bytes"
        elif isinstance(error, exceptions.ProxyError):
            reason = f"the proxy does not answer ({_root_cause(error)})"
        elif isinstance(error, exceptions.ConnectionError):
            reason = f"no connection ({_root_cause(error)})"
        else:
            reason = f"the answer makes no sense ({_root_cause(error)})"
        return _InterruptedError(f"{reason}; check the network, or set HTTPS_PROXY")


def _certificates() -> str | bool:
    """Returns the file or folder of trusted roots, or True for those that requests brings.

    requests itself does not read ``SSL_CERT_FILE``, which curl, pip and OpenSSL do.
    """
    for variable in CERTIFICATE_VARIABLES:
        if path := os.environ.get(variable):
            if not Path(path).exists():
                raise FetchError(
                    f"{variable} names {path}, which is not there; correct it or unset it"
                )
            return path
    return True


def _validator(response: requests.Response) -> str | None:
    """Returns what ``If-Range`` may carry: a strong ETag, else the date of last change.

    Source: RFC 9110, section 13.1.5 (a weak ETag must not be used there).
    """
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return response.headers.get("Last-Modified")


def _continues(response: requests.Response, offset: int, validator: str | None) -> bool:
    """Returns whether a 206 answer really is the rest of the file that was begun."""
    content_range = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if content_range is None or int(content_range[1]) != offset:
        return False
    return validator is None or _validator(response) in (None, validator)


def _total_bytes(response: requests.Response) -> int | None:
    """Returns the size of the whole file as the server states it, or None."""
    if "Content-Encoding" in response.headers:
        return None
    if response.status_code == 206:
        total = response.headers["Content-Range"].rpartition("/")[2]
    else:
        total = response.headers.get("Content-Length", "")
    return int(total) if total.isdecimal() else None


def _is_web_page(response: requests.Response, start: bytes) -> bool:
    """Returns whether HTML came, by its type or by the first bytes of the body."""
    return response.headers.get("Content-Type", "").lower().startswith(
        "text/html"
    ) or start.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _root_cause(error: BaseException) -> str:
    """Returns the innermost reason, such as ``Connection refused``, without the layers."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
