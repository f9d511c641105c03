"""``pneumoscope explain`` and ``pneumoscope export``: a network's reasons, and the network."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Precision(StrEnum):
    """Arithmetic of a network."""

    FLOAT32 = "float32"
    INT8 = "int8"


class Target(StrEnum):
    """Formats to export to."""

    ONNX = "onnx"


def explain(
    path: Annotated[str, typer.Argument(metavar="PATH", help="One film.")],
    bundle: Annotated[
        str | None, typer.Option(help="Bundle: its folder, or the name of a shipped one.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("explanation"),
    gate: Annotated[
        bool, typer.Option(help="Refuse what does not look like a frontal chest X-ray.")
    ] = True,
) -> None:
    """Show what the answer for one film hangs on: decision, heat map, overlay. Needs torch.

    A hot place is where the answer came from, which need not be where disease is.
    """
    from pneumoscope.cli.consoles import on_stdout
    from pneumoscope.errors import BundleError, UsageError
    from pneumoscope.screening.explain import Explainer
    from pneumoscope.screening.output import screening_table
    from pneumoscope.screening.screener import Screener

    try:
        screener = Screener.load(bundle, gate=gate)
    except BundleError as error:
        raise UsageError(str(error)) from error
    ((screening, view),) = screener.screen_views([path])
    on_stdout().print(screening_table([screening]))
    if view is None:
        raise typer.Exit(int(screening.status == "error"))
    explainer = Explainer(screener.bundle, out)
    explainer.write(path, view)
    hot, elsewhere = explainer.deletion(view)
    print(
        f"without the detail of its hottest fifth the film's log-odds fall by {hot:.2f}, "
        f"of a fifth elsewhere by {elsewhere:.2f}"
    )
    print(f"overlay and map: {out}")


def export(
    bundle: Annotated[str, typer.Argument(help="Bundle or run folder, or a shipped name.")],
    to: Annotated[Target, typer.Option(help="The format.")] = Target.ONNX,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: the bundle's name, here.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic; int8 is faster, for bundles that bear it.")
    ] = Precision.FLOAT32,
) -> None:
    """Write a bundle's network as one file for other programs. Needs the extra onnx."""
    from pneumoscope.bundle import open_bundle
    from pneumoscope.screening.export import export_onnx

    opened = open_bundle(bundle)
    suffix = "" if precision is Precision.FLOAT32 else f"-{precision.value}"
    path = output or Path(f"{opened.model_id}{suffix}.{to.value}")
    difference = export_onnx(opened, path, precision.value)
    of_bundle = f"the bundle's in {precision.value}"
    print(f"{path}: p_pneumonia differs by at most {difference:.1g} from {of_bundle}")
