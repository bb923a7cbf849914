#!/usr/bin/env python3
"""Fleets of hosts on one machine. A host is a network namespace with its own store, key file, agent
and Debian's nginx, unmodified; a real Redis stands between them in a namespace of its own.

    tests/fleet/run.py [CASE...]    the cases whose names are given, else all

  SESSCACHE_LIB, SESSCACHE_COMMAND  the library and the command, if not those of target/release
  FLEET_TARGET                      where fleet-load is built, if not in target/fleet
  FLEET_FULL=1                      longer measurements

Needs root, for the namespaces. Each case has network, mount and process namespaces of its own.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from fleet import (delay, doors, engines, forged, hosts, killed_agent, outages, rotation,
                   system_calls)
from fleet.prepared import prepare
from fleet.scene import Scene
from harness import built, namespaces, verdicts

CASES = (
    hosts.hosts, engines.engines, delay.delay, outages.outages, killed_agent.killed_agent,
    system_calls.system_calls, rotation.rotation, forged.forged, doors.doors,
)


def with_scene(case):
    def run(prepared, work):
        scene = Scene(prepared, work)
        with scene.telling_why():
            scene.make()
            case(scene)
    return run


if __name__ == "__main__":
    verdicts.main("test-fleet", {case.__name__: with_scene(case) for case in CASES},
                  prepare=prepare, again="tests/fleet/run.py", around=namespaces.apart,
                  settings=(*built.SETTINGS, "FLEET_TARGET", "FLEET_FULL"), most_seconds=240)
