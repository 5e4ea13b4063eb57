"""Where the installed parts lie, and where a scenario keeps what it makes."""

import os
import pathlib
import shutil

from .gateway import REPOSITORY

CACHE = pathlib.Path(os.environ.get("REAL_CACHE", REPOSITORY / "target" / "real")).resolve()


def work(scenario):
    """An empty directory for a scenario; the last run's is gone."""
    directory = CACHE / "work" / scenario
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
