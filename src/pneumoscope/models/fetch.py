"""Getting Google's checkpoints: where they lie, and what must come out.

Google publishes no hashes beside the files, but its storage states size and MD5 of each in the
header of an answer; those are what a download is compared with. The file then has to be the
promised network before it gets its name. A file that was put in place by hand is used before
any network is asked.
"""

import base64
import difflib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import requests

from pneumoscope.data.download import CERTIFICATE_VARIABLES, Progress, download
from pneumoscope.errors import FetchError, UsageError, WeightsError
from pneumoscope.files import make_folder, storage_error
from pneumoscope.models.npz_format import WeightsInfo, inspect_npz
from pneumoscope.models.weights import WEIGHTS_DIRS

BUCKET = "https://storage.googleapis.com/vit_models/"
"""Google's public bucket, ``gs://vit_models``."""


@dataclass(frozen=True)
class Checkpoint:
    """One file that can be fetched.

    Attributes:
        url: where it lies.
        title: the network it holds, as :attr:`WeightsInfo.name` has it.
        num_classes: outputs of its head.
    """

    url: str
    title: str
    num_classes: int


@dataclass(frozen=True)
class Fetched:
    """A checkpoint that is in its place.

    Attributes:
        path: where it lies.
        info: what it is.
        was_there: whether it was there before, so that nothing was downloaded.
        md5: what the server stated and the file has; None where nothing was stated or asked.
    """

    path: Path
    info: WeightsInfo
    was_there: bool
    md5: str | None = None


def _at(name: str, title: str, num_classes: int) -> Checkpoint:
    # A "+" in a path is literal by RFC 3986, but some storage reads it as a space: so %2B.
    return Checkpoint(BUCKET + quote(name), title, num_classes)


# Names and image sizes as in the README of github.com/google-research/vision_transformer
# (imagenet21k, imagenet21k+imagenet2012) and in timm's vision_transformer.py (augreg:
# vit_tiny_patch16_224, vit_small_patch16_224, vit_small_patch32_224 .augreg_in21k_ft_in1k).
CATALOGUE: Mapping[str, Checkpoint] = MappingProxyType(
    {
        **{
            f"ViT-{size}_{patch}": _at(
                f"augreg/{size}_{patch}-i21k-300ep-lr_0.001-aug_{augmentation}-wd_0.03-do_0.0-sd_0.0"
                "--imagenet2012-steps_20k-lr_0.03-res_224.npz",
                f"ViT-{size}/{patch}",
                1000,
            )
            for size, patch, augmentation in (
                ("Ti", 16, "none"),
                ("S", 16, "light1"),
                ("S", 32, "light1"),
            )
        },
        **{
            f"ViT-{size}_{patch}{suffix}": _at(
                f"{folder}/ViT-{size}_{patch}.npz", f"ViT-{size}/{patch}", num_classes
            )
            for folder, suffix, num_classes in (
                ("imagenet21k", "", 21_843),
                ("imagenet21k+imagenet2012", "-in1k", 1000),
            )
            for size in ("B", "L")
            for patch in (16, 32)
        },
    }
)
"""What can be fetched, by the name under which :func:`find_weights` finds it afterwards.

Ti and S were tuned on ImageNet at 224 px, those in ``-in1k`` at 384 px; B and L alone are as
they came out of pretraining on ImageNet-21k at 224 px, with a ``pre_logits`` layer.
"""


def fetch_weights(
    name: str,
    folder: Path = WEIGHTS_DIRS[0],
    *,
    catalogue: Mapping[str, Checkpoint] = CATALOGUE,
    timeout_s: float = 30.0,
    retries: int = 5,
    on_progress: Progress | None = None,
) -> Fetched:
    """Returns the checkpoint of that name, downloaded into ``folder`` unless it is there.

    A file that is there is looked over and used without any network, whoever put it there; it
    must be the same network, and may have another head. An interrupted download waits in
    ``.<name>.fetch`` inside ``folder`` for the next call.

    Args:
        name: a key of ``catalogue``, with or without ``.npz``.
        folder: where it goes. For one of :data:`WEIGHTS_DIRS` the other is looked at too.
        catalogue: what can be fetched; replaceable for mirrors and tests.
        timeout_s, retries, on_progress: as in :func:`pneumoscope.data.download.download`.

    Raises:
        UsageError: there is no such name.
        WeightsError: what is there already is not that network; it is not touched.
        FetchError: it cannot be had; the text says why, and how to do it by hand.
        StorageError: it cannot be written (no space, no permission).
    """
    name = name.removesuffix(".npz")
    if name not in catalogue:
        raise UsageError(f"no weights {name!r} to fetch; {_hint(name, catalogue)}")
    checkpoint = catalogue[name]
    file_name = f"{name}.npz"
    target = folder / file_name
    others = WEIGHTS_DIRS if folder in WEIGHTS_DIRS else ()
    for place in (target, *(other / file_name for other in others)):
        if place.exists():
            return Fetched(place, _inspect_present(place, checkpoint), was_there=True)

    workshop = make_folder(folder / f".{name}.fetch")
    try:
        size_bytes, md5 = _stated(checkpoint.url, timeout_s)
        archive = download(
            checkpoint.url,
            workshop / file_name,
            sha256=None,
            size_bytes=size_bytes,
            md5=md5,
            timeout_s=timeout_s,
            retries=retries,
            on_progress=on_progress,
        )
        info = _inspect_arrived(archive, checkpoint)
    except FetchError as error:
        if not list(workshop.glob("*.partial")):
            shutil.rmtree(workshop, ignore_errors=True)
        raise FetchError(f"{error}\n{_by_hand(checkpoint.url, target)}") from error
    try:
        archive.replace(target)
    except OSError as error:
        raise storage_error(target, error) from error
    shutil.rmtree(workshop, ignore_errors=True)
    return Fetched(target, info, was_there=False, md5=md5)


def _stated(url: str, timeout_s: float) -> tuple[int | None, str | None]:
    """Returns size in bytes and MD5 in hex as the server states them; None for what it does not.

    Failures are left to the download itself, which meets them too and puts them into words;
    and some filters refuse this question alone.

    Source: cloud.google.com/storage/docs/xml-api/reference-headers, ``x-goog-hash`` (composite
    objects have no MD5).
    """
    roots = (os.environ.get(variable) for variable in CERTIFICATE_VARIABLES)
    try:
        answer = requests.head(
            url,
            headers={"User-Agent": "pneumoscope", "Accept-Encoding": "identity"},
            allow_redirects=True,
            timeout=timeout_s,
            verify=next(filter(None, roots), True),
        )
    except OSError:  # all of requests' errors, and a certificate file that is not there
        return None, None
    md5 = re.search(r"\bmd5=([A-Za-z0-9+/]{22}==)", answer.headers.get("x-goog-hash", ""))
    if answer.status_code != 200 or md5 is None:
        return None, None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None, base64.b64decode(md5[1]).hex()


def _inspect_present(path: Path, checkpoint: Checkpoint) -> WeightsInfo:
    """Returns what the file at its place is; its head is its owner's choice."""
    advice = "nothing was changed; move it away and run this again"
    try:
        info = inspect_npz(path)
    except WeightsError as error:
        raise WeightsError(f"{error}; {advice}") from error
    if info.name != checkpoint.title:
        raise WeightsError(f"{path} is {info.name} where {checkpoint.title} belongs; {advice}")
    return info


def _inspect_arrived(archive: Path, checkpoint: Checkpoint) -> WeightsInfo:
    """Returns what was downloaded, if it is what was promised."""
    try:
        info = inspect_npz(archive)
        if (info.name, info.num_classes) != (checkpoint.title, checkpoint.num_classes):
            raise WeightsError(
                f"it is {info.name} with {info.num_classes:,} classes where "
                f"{checkpoint.title} with {checkpoint.num_classes:,} was expected"
            )
    except WeightsError as error:
        raise FetchError(f"{checkpoint.url} did not bring the checkpoint: {error}") from error
    return info


def _hint(name: str, catalogue: Mapping[str, Checkpoint]) -> str:
    """Returns the nearest name, also for ``vit_b16`` and ``ViT-B/16``, or all of them."""
    plain = {re.sub(r"[^a-z0-9]", "", known.lower()): known for known in catalogue}
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), plain, n=1)
    return f"did you mean {plain[near[0]]}?" if near else f"known: {', '.join(catalogue)}"


def _by_hand(url: str, target: Path) -> str:
    also = [f"{other.as_posix()}/" for other in WEIGHTS_DIRS if other != target.parent]
    searched = f" ({also[0]} is searched too)" if len(also) < len(WEIGHTS_DIRS) else ""
    return "\n".join(
        [
            "By hand: on any machine with a browser, download",
            f"  {url}",
            f"  save it as {target}{searched},",
            "  and run the same command again, which looks it over offline, or train.",
            "Proxies and certificates: docs/locked-down-networks.md",
        ]
    )
