#!/usr/bin/env python3
"""The C tests on Debian 13 with a library of this machine, as CI has time for: in an image without
servers, preloaded alone. Skipped where no such image can be made or entered. As root.

    tests/systems/quick.py

  SYSTEMS_CACHE, MIRROR, BUILT   as for run.py; BUILT is target/release unless it is given
"""

import os
import sys
from pathlib import Path
from subprocess import SubprocessError

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import verdicts
from harness.built import ROOT
from harness.verdicts import Skipped, Unusable, check
from systems import image, steps

SYSTEM = image.System("debian13-quick", "Debian 13", "trixie", groups=("build", "test"))
STEP = steps.Step("c", "C tests, preloaded", "c-tests/run.sh --way preload")


def test(_, work):
    os.environ.setdefault("BUILT", str(ROOT / "target/release"))
    try:
        image.must_be_possible()
        image.make(SYSTEM, work, fresh=False)
        place = steps.Place(SYSTEM, work / "place", fresh=False)
        versions = place.versions()
    except (Unusable, AssertionError, OSError, ValueError, SubprocessError) as error:
        raise Skipped(f"no Debian 13 here: {error}") from error
    print(", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
    found = place.run(STEP)[STEP.name]
    if not check(f"C tests: {found['said']}", found["failed"] == 0):
        print(image.log_of(SYSTEM, STEP).read_text(errors="replace")[-4000:], flush=True)


if __name__ == "__main__":
    verdicts.main("test-debian13", {"debian13": test}, prepare=lambda _: None, again="tests/systems/quick.py",
                  settings=("SYSTEMS_CACHE", "MIRROR", "BUILT"), most_seconds=1500)
