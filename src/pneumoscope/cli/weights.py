"""``pneumoscope weights``: get Google's checkpoints, and see what a file is."""

import json as json_module
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pneumoscope.cli.convert import convert
from pneumoscope.models.weights import WEIGHTS_DIRS

if TYPE_CHECKING:
    from pneumoscope.models.npz_format import WeightsInfo

app = typer.Typer(no_args_is_help=True, help="Get pretrained weights, see what a file is.")

_OTHER_FORMATS = {
    ".safetensors": "a safetensors file",
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt"), "a PyTorch file"),
}


@app.command()
def inspect(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A path, or a name in weights/: ViT-B_16.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what a checkpoint in Google's .npz layout is; only its headers are read."""
    from pneumoscope.errors import WeightsError
    from pneumoscope.models.npz_format import inspect_npz
    from pneumoscope.models.weights import find_weights

    path = find_weights(file)
    if kind := _OTHER_FORMATS.get(path.suffix.lower()):
        raise WeightsError(
            f"{path} is {kind}; expected Google's .npz layout, and "
            "`pneumoscope weights convert` reads it"
        )
    found = _describe(path, inspect_npz(path))
    if json:
        typer.echo(json_module.dumps(found, indent=2))
    else:
        _print_description(found)


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="ViT-Ti_16, ViT-S_16, ViT-S_32, ViT-B_16, ViT-B_32, ViT-L_16 or ViT-L_32; "
            "-in1k after B and L for those tuned on ImageNet at 384 px.",
        ),
    ],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder it goes to.")] = WEIGHTS_DIRS[0],
) -> None:
    """Download a checkpoint from Google's public bucket, verified and resumable."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from pneumoscope.cli.consoles import on_stderr, on_stdout
    from pneumoscope.models.fetch import fetch_weights

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    messages = on_stderr()
    progress = Progress("{task.description}", *columns, console=messages, transient=True)
    task = progress.add_task(f"downloading {name}", total=None)
    with ExitStack() as stack:
        if messages.is_terminal:
            stack.enter_context(progress)
        fetched = fetch_weights(
            name,
            to,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if fetched.was_there:
        how = "was there already; nothing was downloaded"
    elif fetched.md5:
        how = f"is downloaded; its MD5 {fetched.md5} is the one that the server states"
    else:
        how = "is downloaded; the server stated no checksum to compare it with"
    on_stdout().print(f"{fetched.path} {how}", markup=False, soft_wrap=True)
    _print_description(_describe(fetched.path, fetched.info))


def _describe(path: Path, info: "WeightsInfo") -> dict[str, Any]:
    """Returns everything known of a checkpoint, fit for JSON."""
    return {
        "path": str(path),
        "size_bytes": path.stat().st_size,
        **asdict(info),
        "recipe": _recipe(path, info),
    }


def _recipe(path: Path, info: "WeightsInfo") -> str | None:
    """Returns the lines of a recipe that start from the checkpoint, as TOML."""
    if info.model_name is None:
        return None
    # A name is searched for in the folders in turn, so only the first that has it is meant.
    named = next((place for d in WEIGHTS_DIRS if (place := d / path.name).is_file()), None)
    weights = path.stem if path == named and path.suffix == ".npz" else path.as_posix()
    quoted = json_module.dumps(weights, ensure_ascii=False)
    return f'[model]\nname = "{info.model_name}"\n\n[pretrained]\nweights = {quoted}\n'


def _print_description(found: dict[str, Any]) -> None:
    from pneumoscope.cli.consoles import on_stdout

    width = found["representation_size"]
    lines = {
        "file": found["path"],
        "network": found["name"],
        "model": found["model_name"] or "none: build_model has no network of this size",
        "image size": f"{found['resolution']} px in patches of {found['patch_size']} px",
        "embed_dim": found["embed_dim"],
        "depth": found["depth"],
        "heads": found["num_heads"],
        "classes": f"{found['num_classes']:,}",
        "pre_logits": "none" if width is None else f"{width} wide",
        "parameters": f"{found['num_parameters']:,}",
        "naming": found["naming"],
        "bytes": f"{found['size_bytes']:,}",
        "SHA-256": found["sha256"],
    }
    text = "\n".join(f"{what:<11}{value}" for what, value in lines.items())
    if found["recipe"]:
        text += "\n\nIn a recipe:\n\n" + found["recipe"].rstrip()
    on_stdout().print(text, markup=False, soft_wrap=True)


app.command()(convert)
