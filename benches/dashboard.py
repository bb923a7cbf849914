#!/usr/bin/env python3
"""Draws the dashboard, packaging/grafana-dashboard.json, from the answers of a real Prometheus. Debian has no
Grafana, so panels.py draws.

    benches/dashboard.py HEAD.svg WHOLE.svg     with what $LIBDIR (default target/release) has

Two hosts share their sessions through Redis: each is an nginx with a store, and an agent. Clients come back to
either for three minutes, while the first host is reloaded and restarted, and new clients come. Prometheus
evaluates each panel's expressions over these minutes. The head has the panels of the first two rows.
"""

import json
import os
import random
import ssl
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness import processes
from harness.agent import Agent
from harness.network import free_port
from harness.prometheus import Prometheus
from harness.redis import Redis
from harness.tls import make_certificate, make_key_file
from harness.verdicts import wait_until
from panels import picture
from returning import Client, Nginx

BOARD = ROOT / "packaging/grafana-dashboard.json"
BUILT = ROOT / os.environ.get("LIBDIR", "target/release")
SECONDS, STEP, WINDOW = 180, 3, "15s"
RELOAD, RESTART = 60, 120  # seconds after the start
CLIENTS, VISITS_A_SECOND = 120, 25
NEWCOMERS = 0.04  # the share of visits by a client that was never here
HEAD_ROWS = 16    # of the dashboard's grid


class Host:
    """An nginx with a store, and its agent."""

    def __init__(self, name, work, redis):
        self.name, self.folder, self.metrics = name, work / name, free_port()
        self.folder.mkdir(mode=0o700)
        store = self.folder / "web"
        self.nginx = Nginx(self.folder, "builtin", {
            "LD_PRELOAD": str(BUILT / "libsesscache.so"), "SESSCACHE_KEY_FILE": str(work / "key"),
            "SESSCACHE_STORE": f"file:{store}?size=4MiB"})
        self.nginx.start()
        self.agent = Agent.start(BUILT / "sesscache", store, redis, self.folder / "agent.log",
                                 metrics=self.metrics)
        self.agent.says_soon("connected to Redis")


def new_client():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if random.random() < 0.5:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return Client(context)


def visit(hosts, began):
    """Clients come back at random until the time is over."""
    clients = [new_client() for _ in range(CLIENTS)]
    events = [(RELOAD, hosts[0].nginx.reload), (RESTART, hosts[0].nginx.restart)]
    for number in range(SECONDS * VISITS_A_SECOND):
        time.sleep(max(0, began + number / VISITS_A_SECOND - time.time()))
        if events and time.time() - began > events[0][0]:
            events.pop(0)[1]()
        at = random.randrange(CLIENTS)
        if random.random() < NEWCOMERS:
            clients[at] = new_client()
        clients[at].visit(random.choice(hosts).nginx.port)


def answers(prometheus, board, began):
    """The legend and points of each series, by the id of its panel."""
    for panel in board["panels"]:
        found = []
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$instance", ".*").replace("$__rate_interval", WINDOW)
            matrix = prometheus.ask_range(expression, began, began + SECONDS, STEP)
            found += [(legend(target["legendFormat"], series["metric"]), points(series, began))
                      for series in matrix]
        yield panel["id"], found


def legend(text, labels):
    for name, value in labels.items():
        text = text.replace("{{%s}}" % name, value)
    return text


def points(series, began):
    """Times since the beginning, and values; those that are no number are left out."""
    values = ((float(when) - began, float(value)) for when, value in series["values"])
    return [(when, value) for when, value in values if value == value]


def main():
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        try:
            make_certificate(work)
            make_key_file(work / "key")
            redis = Redis.start(work, free_port())
            hosts = [Host(name, work, redis.url) for name in ("host-a", "host-b")]
            prometheus = Prometheus(work, {host.name: host.metrics for host in hosts})
            wait_until(30, lambda: len(prometheus.ask("sesscache_build_info")) == len(hosts))
            began = time.time()
            visit(hosts, began)
            board = json.loads(BOARD.read_text())
            found = dict(answers(prometheus, board, began))
        finally:
            processes.kill_everything()
    for file, rows in zip(sys.argv[1:], (HEAD_ROWS, None)):
        Path(file).write_text(picture(board, found, SECONDS, rows))


if __name__ == "__main__":
    main()
