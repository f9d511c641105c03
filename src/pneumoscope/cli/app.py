"""The commands and their help, put together."""

from typing import Annotated

import typer

from pneumoscope.cli.data import app as data_app
from pneumoscope.cli.doctor import doctor
from pneumoscope.cli.explain import explain, export
from pneumoscope.cli.results import compare, evaluate
from pneumoscope.cli.screen import screen
from pneumoscope.cli.train import ensemble, study, train
from pneumoscope.cli.weights import app as weights_app
from pneumoscope.labels import DISCLAIMER

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Recall-first pneumonia screening on chest X-rays with Vision Transformers.",
    epilog=DISCLAIMER,
)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")
for command in (
    study,
    train,
    ensemble,
    evaluate,
    compare,
    screen,
    explain,
    export,
    doctor,
):
    app.command()(command)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"pneumoscope {version('pneumoscope')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Recall-first pneumonia screening on chest X-rays with Vision Transformers."""
