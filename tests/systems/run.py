#!/usr/bin/env python3
"""The systems that people run: on each a clone of this tree is built and tested, and the results
become docs/SYSTEMS.md. By hand, as root: an image takes minutes and 2 GB, a system half an hour.

    tests/systems/run.py [debian13...]

  SYSTEMS_CACHE      the folder of the images and results (/var/cache/sesscache-systems)
  MIRROR             where they come from (http://deb.debian.org/debian)
  BUILT              a folder with the library and the command, if the systems shall not build them
  STEPS              some of the steps below, separated by spaces, if not all
  CASES              a folder of more scripts, each of which is given the folder of the build

The clone is of the last commit. Each system is shown this machine's Rust.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import verdicts
from harness.verdicts import check, passed
from systems import image, page, steps

MOST_SECONDS = 3 * 3600


def test(system):
    def run_steps(_, work):
        image.make(system, work)
        place = steps.Place(system, work)
        page.note(system, "programs", place.versions())
        for step in steps.chosen():
            found = place.run(step)
            if step in steps.STEPS:
                page.note(system, step.name, found)
            if check(f"{step.name}: {found['said']}", found["failed"] == 0) and found["passed"]:
                passed()
        page.write()
    return run_steps


if __name__ == "__main__":
    verdicts.main("test-systems", {name: test(system) for name, system in image.SYSTEMS.items()},
                  prepare=lambda _: image.must_be_possible(), again="tests/systems/run.py",
                  settings=("SYSTEMS_CACHE", "MIRROR", "BUILT", "STEPS", "CASES"),
                  most_seconds=MOST_SECONDS)
