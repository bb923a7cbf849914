#!/usr/bin/env python3
"""`sesscache agent` with a real Redis: several "hosts" on this machine, each an unmodified
`openssl s_server` with a store and an agent of its own; a client takes sessions from one to the
other.

    tests/agent/run.py [PART...]    the parts whose names are given, else all but those by hand

LIBDIR or SESSCACHE_LIB, and SESSCACHE_BIN, say where the library and the command are.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from agent import (access, clocks, cluster, command_line, differing, failover, flushes, forged, key_files, large, life,
                   metrics, outages, replication)
from agent.scene import Scene, prepare
from harness import built, verdicts

PARTS = (
    command_line.command_line,
    replication.two_hosts, replication.new_host, replication.restarts,
    flushes.flushes,
    outages.redis_restarted, outages.flush, outages.refilled, outages.stopped, outages.unwilling,
    outages.proxy,
    forged.junk, forged.flood, large.large,
    replication.namespaces, replication.other_names, replication.once,
    differing.differing, differing.hostile, differing.ahead,
    metrics.metrics, metrics.without_redis, metrics.crowded,
    life.store_replaced, life.another_boot, life.signals,
    clocks.retention, clocks.clocks, clocks.redis_clock_ahead,
    failover.failover, failover.restarted, failover.sentinel,
    cluster.cluster_failover, cluster.cluster, cluster.takeover, cluster.announced,
    access.tls_and_users, access.certificates, access.causes,
    key_files.key_files,
)

# They need Prometheus, which is large.
BY_HAND = (metrics.promtool, metrics.dashboard)


def with_scene(part):
    return lambda prepared, work: part(Scene(prepared, work))


if __name__ == "__main__":
    verdicts.main("agent", {part.__name__: with_scene(part) for part in PARTS},
                  by_hand={part.__name__: with_scene(part) for part in BY_HAND}, prepare=prepare,
                  again="tests/agent/run.py", settings=built.SETTINGS)
