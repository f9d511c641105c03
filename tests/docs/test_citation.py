"""What is to be cited is this version, and the film collection is named whole."""

import tomllib

import yaml
from pages import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_version_and_licence_are_those_of_the_package():
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]


def test_the_films_are_those_that_the_readme_cites():
    (article,) = CITATION["references"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = article["authors"][0]["family-names"]
    assert (
        f"{first} et al., *{article['journal']}* {article['volume']} ({article['year']})" in readme
    )
    assert len(article["authors"]) > 1
