"""What the site does otherwise than the folder.

All decisions are in its menu, and links to files beside ``docs/`` become text: the pages name
sources, recipes and records of the repository, which are not part of the site.
"""

import re
from pathlib import Path
from typing import Any

_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Returns the configuration with every decision in the menu, in order."""
    folder = Path(config["docs_dir"])
    pages = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("decisions/*.md"))]
    for entry in config["nav"]:
        if "Decisions" in entry:
            entry["Decisions"] = pages
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns the page with the text of links that leave ``docs/``, without the links."""
    depth = page.file.src_uri.count("/")

    def text_of(link: re.Match[str]) -> str:
        leaves = link["target"].count("../") > depth
        return link["text"] if leaves else link[0]

    return _OUTSIDE.sub(text_of, markdown)
