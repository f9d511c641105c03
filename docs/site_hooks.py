"""What the site does otherwise than the folder.

All decisions are in its menu. The pages name sources, recipes and records of the repository, which
are not part of the site: links to them lead to the repository where the configuration has its
address (``repo_url``), and become text where it has none.
"""

import posixpath
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


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Returns the page with links that leave ``docs/`` led to the repository, or made text."""
    folder, depth = posixpath.dirname(page.file.src_uri), page.file.src_uri.count("/")

    def replaced(link: re.Match[str]) -> str:
        if link["target"].count("../") <= depth:
            return link[0]
        if not config["repo_url"]:
            return link["text"]
        path = posixpath.normpath(posixpath.join("docs", folder, link["target"]))
        return f"[{link['text']}]({config['repo_url'].rstrip('/')}/blob/main/{path})"

    return _OUTSIDE.sub(replaced, markdown)
