"""The hooks before a commit: all local, needing no network, and what they call is there."""

import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from pages import ROOT

CONFIG = ROOT / ".pre-commit-config.yaml"


def hooks():
    return [
        hook
        for repository in yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]
        for hook in repository["hooks"]
    ]


def test_none_needs_a_network():
    repositories = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]
    assert {repository["repo"] for repository in repositories} == {"local"}
    assert {hook["language"] for hook in hooks()} == {"system"}


def test_the_programs_are_those_of_the_environment():
    for hook in hooks():
        program, *arguments = shlex.split(hook["entry"])
        assert program.startswith(".venv/bin/")
        assert (Path(sys.executable).parent / Path(program).name).exists(), program
        for script in (one for one in arguments if one.endswith(".py")):
            assert (ROOT / script).is_file()


def test_the_configuration_is_valid():
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(CONFIG)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
