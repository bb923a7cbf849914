#!/usr/bin/env python3
"""The agents' cost: processor time of sender, receiver and Redis for a record, and its delay.

    benches/agent.py [-s SECONDS] [RATE[:SENDERS[:RECEIVERS]]...]

LIBDIR is where sesscache and feed are (target/release). A store of 64 MiB and an agent for each host, all on
this machine, and a Redis that keeps nothing on disk. RATE is the records a second of all senders together.
Processor time is user and system time from /proc/PID/stat, for each record that was made; of several receivers
it is the average. A sender that is not alone receives, too, and its figure is left out. Prints a table for
docs/SCALE.md, and the load average before it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness.network import free_port

TICK = os.sysconf("SC_CLK_TCK")
RATES = "100", "1000", "10000", "1000:4", "1000:1:4"


def start(stack, *command):
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def seconds_of(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(binaries, seconds, rate, senders, receivers):
    """Microseconds of a sender, a receiver and Redis for a record, and the two delays."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        port = free_port()
        redis = start(stack, "redis-server", "--port", port, "--save", "", "--appendonly", "no",
                      "--bind", "127.0.0.1", "--dir", work)
        stores = [f"file:{work}/{number}?size=64MiB" for number in range(senders + receivers)]
        words = ",".join(stores[:senders]), stores[senders]
        # Makes the files.
        for store in stores:
            subprocess.run([binaries / "feed", store, store, "1", "0"], check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        agents = [start(stack, binaries / "sesscache", "agent", "--name", "bench", "--store", store, "--redis",
                        f"redis://127.0.0.1:{port}/") for store in stores]
        time.sleep(1.5)
        before = [seconds_of(process) for process in (*agents, redis)]
        printed = subprocess.run([binaries / "feed", *words, str(rate), str(seconds)], check=True,
                                 capture_output=True, text=True).stdout
        used = [seconds_of(process) - one for process, one in zip((*agents, redis), before)]
    came, half, most = printed.split()
    if int(came) != rate * seconds:
        sys.exit(f"agent.py: of {rate * seconds} records {came} came")
    sender, receiver = sum(used[:senders]), sum(used[senders:-1]) / receivers
    return [one / int(came) * 1e6 for one in (sender, receiver, used[-1])], half, most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-s", type=int, default=15, metavar="SECONDS")
    parser.add_argument("rates", nargs="*", default=RATES, metavar="RATE[:SENDERS[:RECEIVERS]]")
    arguments = parser.parse_args()
    binaries = Path(os.environ.get("LIBDIR", ROOT / "target/release")).resolve()
    print(f"Load average before: {os.getloadavg()[0]:.2f}\n")
    print("| records a second | senders | receivers | sender, µs a record | a receiver | Redis | one of each "
          "| delay p50, ms | p99 |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for words in arguments.rates:
        rate, senders, receivers = (*map(int, words.split(":")), 1, 1)[:3]
        used, half, most = measure(binaries, arguments.s, rate, senders, receivers)
        is_alone = senders == 1
        row = [f"{one:.0f}" for one in (*used, sum(used))]
        if not is_alone:
            row[0] = row[3] = "–"
        print(f"| {rate:,} | {senders} | {receivers} | {' | '.join([*row, half, most])} |", flush=True)


if __name__ == "__main__":
    main()
