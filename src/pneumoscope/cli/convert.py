"""``pneumoscope weights convert``: weights from outside to a bundle."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class GeluOption(StrEnum):
    """The two functions that go by the name of GELU."""

    ERF = "erf"
    TANH = "tanh"


def convert(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A state dict: .pth, .pt, .bin or .safetensors.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="The network: cnn, vit_b16, ...")],
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Films: {train,test}/{NORMAL,PNEUMONIA}."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The bundle's folder, to be made.")],
    split: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Split to use. Default: by patient, seed 0.")
    ] = None,
    img_size: Annotated[
        int | None, typer.Option(help="Side of the input, pixels. Default: as the file tells.")
    ] = None,
    gelu: Annotated[
        GeluOption | None,
        typer.Option(help="Of a ViT: timm's networks have erf, Google's tanh. Default: NAME's."),
    ] = None,
    standardize: Annotated[
        bool, typer.Option("--standardize", help="The ViT was trained with model.standardize.")
    ] = False,
    name: Annotated[str, typer.Option(help="Names the bundle. Default: as the file.")] = "",
    title: Annotated[str, typer.Option(help="How it is called in tables.")] = "",
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out films that cannot be decoded.")
    ] = False,
) -> None:
    """Turn a state dict into a bundle: score the films of DIR, choose the threshold on val.

    Nothing is trained. The file is read without running code in it; one that needs that is
    refused.
    """
    from pneumoscope.cli.consoles import on_stderr, on_stdout
    from pneumoscope.evaluation.results import ModelResult
    from pneumoscope.evaluation.tables import results_table
    from pneumoscope.study.convert import Outsider
    from pneumoscope.study.convert import convert as convert_weights
    from pneumoscope.study.run import Source

    outsider = Outsider(
        model=model,
        name=name,
        title=title,
        img_size=img_size,
        gelu=gelu.value if gelu else None,
        standardize=standardize,
    )
    source = Source(data, split, skip_unreadable)
    bundle = convert_weights(file, outsider, source, out, on_stderr())
    on_stdout().print(results_table([ModelResult.from_bundle(bundle)]))
    print(f"bundle: {bundle.path}")
