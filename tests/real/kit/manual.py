"""What the manual gives to copy: its blocks, word for word."""

import re

from .gateway import REPOSITORY


def blocks(document, language):
    """The contents of every fenced block of a language in `docs/DOCUMENT.md`."""
    text = (REPOSITORY / "docs" / f"{document}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def block(document, language, holds):
    """The one block that has the line `holds`."""
    [found] = [b for b in blocks(document, language) if holds in b.splitlines()]
    return found


def commands(text):
    """The commands of a shell block, with continued lines joined."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
