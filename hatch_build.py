"""The README as a package index can show it: there no file of the repository is beside it."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"!\[[^\]]*\]\((?!\w+://)[^)]*\)\n*")
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+://|#)[^)]*\)")


def alone(text: str) -> str:
    """The text without its pictures, with the words of its links; those to other sites stay."""
    return LINK.sub(r"\1", PICTURE.sub("", text))


class Readme(MetadataHookInterface):
    """Hands the text over as the long description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field ``readme``."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": alone(text)}
