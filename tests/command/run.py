#!/usr/bin/env python3
"""The commands of an operator against real servers on 127.0.0.1: `sesscache probe` and `doctor`; and
what all commands, and servers with the library, say of mistakes.

    tests/command/run.py [PART...]    the parts whose names are given, else all

LIBDIR or SESSCACHE_LIB, and SESSCACHE_BIN, say where the library and the command are.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from command import connections, doctor, mistakes, probe
from command.scene import Scene, prepare
from harness import built, verdicts

PARTS = (
    probe.probe_stock, probe.probe_versions, probe.probe_nginx, probe.probe_addresses,
    probe.probe_failures,
    connections.connections, connections.connections_nginx,
    doctor.doctor_healthy, doctor.doctor_without, doctor.doctor_settings, doctor.doctor_elsewhere,
    doctor.doctor_replaced, doctor.doctor_counters, doctor.doctor_nginx, doctor.doctor_nobody,
    mistakes.mistakes_of_commands, mistakes.mistakes_of_servers,
)


def with_scene(part):
    return lambda prepared, work: part(Scene(prepared, work))


if __name__ == "__main__":
    verdicts.main("command", {part.__name__: with_scene(part) for part in PARTS}, prepare=prepare,
                  again="tests/command/run.py", settings=built.SETTINGS)
