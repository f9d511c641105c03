"""What the site does otherwise than the folder: links to files beside ``docs/`` become text.

The pages name sources, recipes and records of the repository, which are not part of the site.
"""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>(?:\.\./)+[^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns the page with the text of links that leave ``docs/``, without the links."""
    depth = page.file.src_uri.count("/")

    def text_of(link: re.Match[str]) -> str:
        leaves = link["target"].count("../") > depth
        return link["text"] if leaves else link[0]

    return _OUTSIDE.sub(text_of, markdown)
