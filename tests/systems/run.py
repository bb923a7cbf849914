#!/usr/bin/env python3
"""The systems that people run: on each a clone of this tree is built and tested, and the results
become docs/SYSTEMS.md and columns of docs/PARITY.md. By hand, as root: an image takes minutes and
2 GB, a system half an hour.

    tests/systems/run.py [debian13...]

  SYSTEMS_CACHE      the folder of the images and results (/var/cache/sesscache-systems)
  MIRROR             where they come from (http://deb.debian.org/debian)
  BUILT              a folder with the library and the command, if the systems shall not build them
  STEPS              some of the steps of steps.py, separated by spaces. Without: `make demo` and then
                     `make test` on a fresh system, whose packages they install; with BUILT, the parts
                     of `make test`
  READ               the log of a .ci/run on a machine that is such a system, instead of a run
  NAMES              C tests for the steps c and upstream; the others keep their last result
  PATIENCE           on a busy machine: so many times the time for a C test (1)
  CASES              a folder of more scripts, each of which is given the folder of the build

The clone is of the last commit. Each system is shown this machine's Rust.
"""

import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import verdicts
from harness.verdicts import check, passed
from systems import image, page, parity, said, steps

MOST_SECONDS = 3 * 3600


def test(system):
    def run_steps(_, work):
        if "READ" in os.environ:
            read(system, Path(os.environ["READ"]).read_text())
            return
        places = {}
        for step in steps.chosen():
            if step.fresh not in places:
                image.make(system, work, step.fresh)
                places[step.fresh] = steps.Place(system, work / f"place{len(places)}", step.fresh)
            found = places[step.fresh].run(step)
            if step in steps.STEPS:
                page.note(system, found, places[step.fresh].versions())
            check(f"{step.name}: {found[step.name]['said']}", found[step.name]["failed"] == 0)
        page.write()
        parity.write()
    return run_steps


def read(system, text):
    """A run of .ci/run, on a machine that is such a system."""
    found = dict(said.of_make_test(text, steps.STEPS)) | {"test": said.the_whole(text)}
    page.note(system, {name: each | {"read": True} for name, each in found.items()},
              steps.versions(*said.programs(text)))
    passed()
    page.write()
    parity.write()


if __name__ == "__main__":
    verdicts.main("test-systems", {name: test(system) for name, system in image.SYSTEMS.items()},
                  prepare=lambda _: image.must_be_possible(), again="tests/systems/run.py",
                  settings=("SYSTEMS_CACHE", "MIRROR", "BUILT", "STEPS", "READ", "NAMES",
                            "PATIENCE", "CASES"),
                  most_seconds=MOST_SECONDS)
