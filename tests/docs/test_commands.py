"""Every block of commands or Python that a page shows is run; see ``cut_short`` for how.

What cannot be run says so above itself: ``<!-- not run: .ci/run (runs everything) -->`` takes out
the lines that hold ``.ci/run``, ``all`` the whole block. These are few, and listed here.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from pages import PAGES, ROOT, TYPED, Block, blocks, blocks_of

LEFT_OUT = {
    ("CONTRIBUTING.md", ".ci/run"),
    ("README.md", "python3 -m venv .venv && .venv/bin/pip install --index-url"),
    ("docs/style.md", "python benchmarks/style.py"),
    ("docs/accuracy.md", "python benchmarks/block_validation.py"),
    ("docs/thresholds.md", "python benchmarks/doubtful_labels.py"),
    ("docs/thresholds.md", "python benchmarks/trials.py"),
    ("docs/recipes.md", "python benchmarks/style_holdout.py"),
    ("docs/training-speed.md", "python benchmarks/train.py"),
    ("docs/data.md", "pneumoscope data split Data/chest_xray --out block.csv"),
    ("docs/locked-down-networks.md", "pip install --index-url"),
    ("docs/locked-down-networks.md", "pip wheel --wheel-dir wheels --find-links"),
    ("docs/locked-down-networks.md", "pip wheel --wheel-dir wheels --index-url"),
    ("docs/locked-down-networks.md", "$env:HTTPS_PROXY"),
}
"""What no test runs: a page, and how its line begins."""

LEAST_LINES = {
    "CONTRIBUTING.md": 8,
    "README.md": 15,
    "docs/accuracy.md": 1,
    "docs/data.md": 6,
    "docs/ensembles.md": 1,
    "docs/evaluation.md": 6,
    "docs/index.md": 10,
    "docs/locked-down-networks.md": 10,
    "docs/models.md": 2,
    "docs/pretrained-weights.md": 10,
    "docs/recipes.md": 2,
    "docs/report.md": 6,
    "docs/reproducibility.md": 4,
    "docs/screening.md": 15,
    "docs/thresholds.md": 2,
    "docs/training.md": 5,
}
"""How many lines of each page are run at the least."""

RUN = [block for block in TYPED if any(line.strip() for line in block.lines_run)]


def run_block(block: Block, workspaces, programs, sources, server) -> str:
    """Runs a block in its page's folder and returns what it printed."""
    text = "\n".join(block.lines_run) + "\n"
    text = text.replace("/etc/ssl/certs/hospital-root.pem", "hospital-root.pem")
    text = text.replace("https://files.hospital.example", server)
    if block.is_python:
        text = f"import cut_short\ncut_short.stay_here()\n{text}"
        if "fetch_dataset" in text:  # or the films of the block before would do
            shutil.rmtree(workspaces(block.page) / "Data")
    command = [sys.executable, "-"] if block.is_python else ["bash", "-euo", "pipefail"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",  # threads wait for one another where the cores are busy
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/docs"), os.environ.get("PYTHONPATH", "")]),
        "PAGES_SOURCES": sources,
        "PAGES_PROGRAMS": str(programs),
    }
    answer = subprocess.run(
        command,
        input=text,
        cwd=workspaces(block.page),
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = f"{block}\n{text}\n{answer.stdout[-2000:]}{answer.stderr[-3000:]}"
    assert answer.returncode == 0, said
    return answer.stdout


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN, ids=str)
def test_it_runs_as_it_stands(block, workspaces, programs, sources, server):
    printed = run_block(block, workspaces, programs, sources, server)
    shown = block.answer or answer_below(block)
    if shown:
        assert words_of(shown) == words_of(printed)


def answer_below(block: Block) -> str:
    """The block after one of Python, where it is what that prints."""
    page = blocks(ROOT / block.page)
    following = page[page.index(block) + 1 :][:1]
    if not block.is_python or not following or following[0].has_commands:
        return ""
    gap = following[0].line - block.line - block.text.count("\n")
    return following[0].text if following[0].language == "" and gap <= 3 else ""


def words_of(text: str) -> list[str]:
    """The words of an answer without sizes and hashes, which are those of other files."""
    return [word for word in text.split() if not re.fullmatch(r"[\d,]{9,}|[0-9a-f]{64}", word)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [b for b in TYPED if b.page == "docs/locked-down-networks.md" and "export " in b.text],
    ids=str,
)
def test_doctor_names_the_variables_that_are_set(block, workspaces, programs, sources, server):
    names = re.findall(r"^export (HTTPS_PROXY|REQUESTS_CA_BUNDLE)=", block.text, re.M)
    asking = Block(block.page, block.line, "bash", block.comment, f"{block.text}pneumoscope doctor")
    printed = run_block(asking, workspaces, programs, sources, server)
    assert all(name in printed for name in names)


def test_what_is_left_out_is_what_the_list_says():
    left_out = [(block.page, line.strip()) for block in TYPED for line in block.lines_left_out]
    for page, line in left_out:
        assert any(page == p and line.startswith(start) for p, start in LEFT_OUT), (page, line)
    for page, start in LEFT_OUT:
        assert any(p == page and line.startswith(start) for p, line in left_out), (page, start)


def test_enough_lines_of_every_page_are_run():
    lines = Counter(
        block.page for block in RUN for line in block.lines_run if line.split("#")[0].strip()
    )
    assert set(lines) == set(LEAST_LINES)
    assert {page: n for page, n in lines.items() if n < LEAST_LINES[page]} == {}


@pytest.mark.parametrize("block", TYPED, ids=str)
def test_what_is_not_run_is_there_and_has_a_reason(block):
    for what, why in block.not_run.items():
        assert what == "all" or any(what in line for line in block.typed), f"{what}: no such line"
        assert len(why) > 3, f"{what}: no reason"


def test_every_fence_is_found():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^\s*```", text, re.M)) == 2 * len(blocks(page)), page


def test_blocks_in_lists_and_of_other_tags_are_found():
    text = (
        "- so:\n\n  <!-- not run: b (why not) -->\n  ```bash\n  pip a\n    b\n  ```\n```{.x}\n```\n"
    )
    first, second = blocks_of(text, "x.md")
    assert (first.text, first.language, first.line) == ("pip a\n  b\n", "bash", 3)
    assert (first.lines_run, first.lines_left_out) == (["pip a"], ["  b"])
    assert first.has_commands
    assert not second.has_commands
