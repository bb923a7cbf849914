"""The agent's /metrics against the format, docs/METRICS.md and the dashboard."""

import contextlib
import json
import re
import socket

from harness.built import ROOT
from harness.verdicts import check, same, wait_until

_SAMPLE = re.compile(r'([a-z_]+)(\{[a-z]+="[^"]*"\})? (-?[0-9.eE+-]+|\+Inf|NaN)')
_SUFFIXES = ("_total", "_bucket", "_sum", "_count", "_info")
_LAST_ERROR = "sesscache_redis_last_error_timestamp_seconds"


def metrics(scene):
    scene.start_redis()
    a = scene.host("a")
    a.start_agent()
    check("it connects", a.agent.says_soon, "connected to Redis")
    served = set()
    check("they parse", lambda: served.update(families(a.agent.page("/metrics")[1])) or True)
    with scene.redis.process.paused():
        check("an error shows", wait_until, 10,
              lambda: _LAST_ERROR in a.agent.page("/metrics")[1])
    served.add(_LAST_ERROR)
    listed = re.findall(r"^\| `(sesscache_[a-z_]+)", (ROOT / "docs/METRICS.md").read_text(), re.M)
    check("docs/METRICS.md lists them all, and no others", same, sorted(set(listed)),
          sorted(served))
    check("the dashboard asks for what there is", lambda: same(set(), queried() - served))
    check("no other page", lambda: same(404, a.agent.page("/x")[0]))
    check("it ends", a.agent.ends)


def crowded(scene):
    """Connections that stay, before a request or after one, keep nobody else waiting."""
    a = scene.host("a")
    scene.start_redis()
    a.start_agent()
    check("it connects", a.agent.says_soon, "connected to Redis")
    for what, request in (("silent", b""), ("kept", b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")):
        with contextlib.ExitStack() as stack:
            for _ in range(64):
                connection = socket.create_connection(("127.0.0.1", a.metrics))
                stack.enter_context(connection).sendall(request)
            check(f"beside {what} ones a probe is answered", a.agent.is_healthy)
            check("and another", a.agent.is_healthy)
    check("it ends", a.agent.ends)


def families(text):
    """The names of the families; AssertionError if the text is no OpenMetrics."""
    kinds, helps = {}, set()
    *lines, last = text.splitlines()
    same("# EOF", last)
    for line in lines:
        words = line.split(" ")
        if words[:2] == ["#", "HELP"]:
            helps.add(words[2])
        elif words[:2] == ["#", "TYPE"]:
            assert words[2] not in kinds, f"twice: {words[2]}"
            kinds[words[2]] = words[3]
        elif words[:2] == ["#", "UNIT"]:
            assert words[2].endswith("_" + words[3]), line
        else:
            check_sample(line, kinds, helps)
    return set(kinds)


def check_sample(line, kinds, helps):
    found = _SAMPLE.fullmatch(line)
    assert found, f"not a sample: {line}"
    name = found[1]
    family = next((name.removesuffix(s) for s in _SUFFIXES if name.endswith(s)), name)
    assert family in kinds and family in helps, f"without HELP or TYPE: {line}"
    assert (kinds[family] == "counter") == name.endswith("_total"), line


def queried():
    """The families in the dashboard's queries."""
    board = json.loads((ROOT / "packaging/grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(queries) >= 8, f"few queries: {queries}"
    names = {name for query in queries for name in re.findall(r"sesscache_[a-z_]+", query)}
    return {re.sub("_(total|bucket|sum|count)$", "", name) for name in names}
