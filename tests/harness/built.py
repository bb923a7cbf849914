"""The library and the command that are tested. Copied, because any user may read a copy, and a
build meanwhile does not change it under running servers."""

import os
import shutil
from pathlib import Path

from .verdicts import Unusable

ROOT = Path(__file__).parents[2]
_RELEASE = ROOT / "target" / "release"
SETTINGS = ("SESSCACHE_LIB", "LIBDIR", "SESSCACHE_BIN", "SESSCACHE_COMMAND")


def copy_library(folder):
    """The copy of $SESSCACHE_LIB, of $LIBDIR/libsesscache.so, or of what `make` built."""
    folder_of_it = Path(os.environ.get("LIBDIR", _RELEASE))
    return _copy(os.environ.get("SESSCACHE_LIB", folder_of_it / "libsesscache.so"), folder)


def copy_command(folder):
    """The copy of $SESSCACHE_BIN, of $SESSCACHE_COMMAND, or of what `make` built."""
    other = os.environ.get("SESSCACHE_COMMAND", _RELEASE / "sesscache")
    return _copy(os.environ.get("SESSCACHE_BIN", other), folder)


def _copy(path, folder):
    path = Path(path).resolve()
    if not path.exists():
        raise Unusable(f"there is no {path}; build it first: make")
    copy = folder / path.name
    shutil.copyfile(path, copy)
    copy.chmod(0o755)
    return copy
