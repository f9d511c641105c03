"""The notebook: the same as its script, true to the code it quotes, and runs top to bottom."""

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


@pytest.fixture(scope="module")
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


@pytest.mark.slow
def test_it_runs_top_to_bottom(script, tmp_path, own_cache):
    # Away from the repository, so that neither films nor weights that lie there are found.
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(script, timeout=900, kernel_name="python3", resources=resources).execute()
    code = [cell for cell in script.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= 12
    words = "\n".join(
        o.get("text", "") + o.get("data", {}).get("text/markdown", "") for o in outputs
    )
    assert "RANDOM checkpoint" in words  # said, since no weights are here
    assert "PHANTOM" in words
    assert "Reference ViT from scratch" in words
    assert (tmp_path / "studies" / "notebook" / "comparison" / "report.html").is_file()
