"""The notebook: the same as its script, true to the code it quotes, and runs top to bottom."""

import asyncio
import re

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient
from pages import ROOT

FOLDER = ROOT / "notebooks"
SECTIONS = (
    "1. Utilities",
    "2. Data and split",
    "3. The model",
    "4. Train and evaluate: from scratch",
    "5. Pretrained",
    "6. Train and evaluate: pretrained",
    "7. Comparison",
)


@pytest.fixture
def script():
    return jupytext.read(FOLDER / "pneumonia_vit.py")


def contents(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_the_notebook_is_made_from_the_script(script):
    notebook = nbformat.read(FOLDER / "pneumonia_vit.ipynb", as_version=4)
    assert contents(notebook) == contents(script), (
        "run jupytext --update --to ipynb notebooks/pneumonia_vit.py"
    )
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_its_sections_are_those_of_the_study_in_order(script):
    text = "\n".join(cell.source for cell in script.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert len(headings) == len(SECTIONS)
    for heading, expected in zip(headings, SECTIONS, strict=True):
        assert heading.startswith(expected)


def test_the_code_that_it_quotes_is_the_code_that_runs(script):
    models = ROOT / "src" / "pneumoscope" / "models"
    sources = [(models / name).read_text(encoding="utf-8") for name in ("vit.py", "heatmap.py")]
    text = "\n".join(cell.source for cell in script.cells if cell.cell_type == "markdown")
    quoted = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    for code in quoted:
        assert any(code in source for source in sources), code
    # Embedding, attention, MLP, block, DropPath, attention weights, rollout.
    for line in (
        "self.proj = nn.Conv2d(",
        "torch.cat([cls, x], dim=1)",
        "F.scaled_dot_product_attention(",
        "self.act(self.fc1(x))",
        "self.drop_path(self.mlp(self.norm2(x)))",
        ".bernoulli_(keep_prob)",
        ".softmax(dim=-1)",
        "weight.mean(dim=1) + 0.5 * identity",
    ):
        assert any(line in code for code in quoted), line


LEAST_PICTURES = {1: 0, 2: 1, 3: 3, 4: 5, 5: 1, 6: 3, 7: 3}
"""By section: films; patches, DropPath, embeddings; curves, scores, confusion, two maps; ..."""

WORDS = {
    3: ["| film, grey shown in three channels"],
    4: ["the same on test: recall"],
    5: ["RANDOM checkpoint"],  # said, since no weights are here
    7: ["Reference ViT from scratch", "recall-first"],
}
"""By section: what its outputs say."""

OFFLINE = """
import socket

_connect = socket.socket.connect

def _connect_here(self, address):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"the notebook asks the network for {address[0]}")
    return _connect(self, address)

socket.socket.connect = _connect_here
"""

STILL_OFFLINE = """
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except OSError as error:
    print(error)
"""

STEPS, FEWER_STEPS = "training.max_steps=80", "training.max_steps=14"
"""What each model trains for in the short run, and here."""

MOST_TIME_S = 10 * 60
"""For so few steps, on a slow machine beside other tests."""


def by_section(cells) -> dict[int, list]:
    """Returns the outputs of the cells by the number of the section they stand in."""
    number, found = 0, {}
    for cell in cells:
        if cell.cell_type == "markdown" and (
            heading := re.search(r"^## (\d)\.", cell.source, re.M)
        ):
            number = int(heading[1])
        elif cell.cell_type == "code":
            found.setdefault(number, []).extend(cell.outputs)
    return found


def words_of(outputs) -> str:
    return "\n".join(
        o.get("text", "") + o.get("data", {}).get("text/markdown", "") for o in outputs
    )


@pytest.mark.slow
def test_it_runs_top_to_bottom(script, tmp_path, own_cache):
    # Away from the repository, so that neither films nor weights that lie there are found.
    resources = {"metadata": {"path": str(tmp_path)}}
    (short,) = (cell for cell in script.cells if STEPS in cell.source)
    short.source = short.source.replace(STEPS, FEWER_STEPS)
    script.cells.insert(0, nbformat.v4.new_code_cell(OFFLINE))
    script.cells.append(nbformat.v4.new_code_cell(STILL_OFFLINE))
    client = NotebookClient(script, timeout=None, kernel_name="python3", resources=resources)
    asyncio.run(asyncio.wait_for(client.async_execute(), MOST_TIME_S))
    last = script.cells.pop()
    assert "the notebook asks the network for 192.0.2.1" in words_of(last.outputs)
    outputs = by_section(script.cells[1:])
    assert not [o for some in outputs.values() for o in some if o.output_type == "error"]
    for number, least in LEAST_PICTURES.items():
        pictures = [o for o in outputs.get(number, []) if "image/png" in o.get("data", {})]
        assert len(pictures) >= least, f"section {number}"
    for number, expected in WORDS.items():
        said = words_of(outputs[number])
        assert [words for words in expected if words not in said] == [], f"section {number}"
    assert "PHANTOM" in words_of([o for some in outputs.values() for o in some])
    assert (tmp_path / "studies" / "notebook" / "comparison" / "report.html").is_file()


def test_outputs_are_told_apart_by_section(script):
    assert set(LEAST_PICTURES) == set(range(1, len(SECTIONS) + 1))
    sections = by_section(script.cells)
    assert set(sections) == set(LEAST_PICTURES)
    for cell in script.cells:
        if cell.cell_type == "code":
            cell.outputs = [cell.source]
    assert any("draw_overview" in source for source in by_section(script.cells)[7])
    for cell in script.cells:
        if cell.cell_type == "code":
            cell.outputs = []
