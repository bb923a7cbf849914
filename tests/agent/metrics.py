"""The agent's /metrics against the format, docs/METRICS.md and the dashboard."""

import contextlib
import json
import re
import socket

from harness.agent import Agent
from harness.built import ROOT
from harness.network import free_port
from harness.packages import need
from harness.prometheus import Prometheus
from harness.run import result
from harness.verdicts import at_least, check, same, wait_until

_LABELS = r'\{store="/[^"]*",name="[^"]*"(,[a-z]+="[a-z0-9_.+-]*")*\}'
_SAMPLE = re.compile(r'([a-z_]+)' + _LABELS + r' (-?[0-9.eE+-]+|\+Inf|NaN)', re.I)
_OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

_SUFFIXES = ("_total", "_bucket", "_sum", "_count", "_info")
_LAST_ERROR = "sesscache_redis_last_error_timestamp_seconds"


def metrics(scene):
    scene.start_redis()
    a = scene.host("a")
    a.start_agent()
    check("it connects", a.agent.says_soon, "connected to Redis")
    served = set()
    check("they parse", lambda: served.update(families(openmetrics(a.agent))) or True)
    with scene.redis.process.paused():
        check("an error shows", wait_until, 10,
              lambda: _LAST_ERROR in a.agent.page("/metrics")[1])
    served.add(_LAST_ERROR)
    listed = re.findall(r"^\| `(sesscache_[a-z_]+)", (ROOT / "docs/METRICS.md").read_text(), re.M)
    check("docs/METRICS.md lists them all, and no others", same, sorted(set(listed)),
          sorted(served))
    check("the dashboard asks for what there is", lambda: same(set(), queried() - served))
    # The version is a label of no panel.
    check("and for all of it", lambda: same({"sesscache_build"}, served - queried()))
    check("no other page", lambda: same(404, a.agent.page("/x")[0]))
    check("it ends", a.agent.ends)


def without_redis(scene):
    """An agent without --redis shows its store, in both formats, at an address without a host."""
    a = scene.host("a")
    a.make("sessions", 3)
    port = free_port()
    log = scene.work / "alone.log"
    alone = Agent.start(scene.command, a.store, None, log, "--metrics", f":{port}")
    alone.metrics = port
    check("it shows the store", alone.says_soon, f"showing {a.store}, without Redis")
    check("sessions are counted", alone.shows, 'store_records_total{event="stored"}', 3)
    for address in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
        check(f"at {address}", lambda: same(200, alone.page("/metrics", address=address)[0]))
    served = set()
    check("OpenMetrics parses", lambda: served.update(families(openmetrics(alone))) or True)
    check("it is of the store alone", same, [], [
        name for name in served if name.startswith(("sesscache_replication_", "sesscache_redis_"))])
    text = alone.page("/metrics")[1]
    check("the text format is Prometheus's", lambda: same((False, True), (
        "# EOF" in text, "# TYPE sesscache_store_lookups_total counter\n" in text)))
    check("it is live and ready", lambda: alone.is_live() and alone.is_healthy())
    a.store.unlink()
    check("without a store it is live, not ready", wait_until, 5, alone.is_unhealthy)
    a.server.kill()
    a.start_server()
    check("until there is a new one", wait_until, 5, alone.is_healthy)
    check("it ends", alone.ends)
    named = Agent.start(scene.command, a.store, None, scene.work / "named.log", "--metrics",
                        f"localhost:{port}", "--name", "shop")
    named.metrics = port
    check("a name as address", wait_until, 5, named.is_healthy)
    check("the name is a label", lambda: f'{{store="{a.store}",name="shop",version="' in
          named.page("/metrics")[1])
    check("it ends, too", named.ends)


def promtool(scene):
    """`promtool check metrics` has nothing to say about the text format; by hand, because it is large."""
    need("promtool", "prometheus")
    scene.start_redis()
    a = scene.host("a")
    a.start_agent()
    check("it connects", a.agent.says_soon, "connected to Redis")
    page = scene.work / "metrics.txt"
    with scene.redis.process.paused():
        check("an error shows", wait_until, 10,
              lambda: _LAST_ERROR in a.agent.page("/metrics")[1])
    page.write_text(a.agent.page("/metrics")[1])
    done = result("sh", "-c", f'promtool check metrics <"{page}"')
    check("promtool is content", same, (0, ""), (done.returncode, done.stdout + done.stderr))
    check("it ends", a.agent.ends)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def openmetrics(agent):
    return agent.page("/metrics", accept=_OPEN_METRICS)[1]


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


def dashboard(scene):
    """A real Prometheus evaluates every expression of the dashboard and of the alerts; by hand."""
    need("prometheus", "prometheus")
    scene.start_redis()
    hosts = scene.host("a"), scene.host("b")
    for host in hosts:
        host.start_agent()
        check(f"{host.name} connects", host.agent.says_soon, "connected to Redis")
    prometheus = Prometheus(scene.work, {host.name: host.metrics for host in hosts})
    expressions = expressions_of_dashboard() + expressions_of_alerts()

    def traffic():
        """Sessions of one host resume at the other, and the figures are scraped."""
        hosts[0].make("sessions", 3)
        hosts[1].resumed("sessions", 3)
        found = prometheus.ask('min(count_over_time(sesscache_connections_total[30s]))')
        assert found and float(found[0]["value"][1]) >= 4, found
        return True

    check("it scrapes", wait_until, 30, traffic)
    check("there are many", at_least, 35, len(expressions))
    for expression in expressions:
        # Comparisons are empty while all is well.
        may_be_empty = re.search(r"(==|>) *[0-9.]+$", expression)
        check(f"{expression[:70]} has a value", lambda: prometheus.ask(expression) or may_be_empty)
    done = result("promtool", "check", "rules", ROOT / "packaging/alerts.yml")
    check("promtool is content with the rules", same, 0, done.returncode)
    prometheus.process.kill()


def expressions_of_dashboard():
    board = json.loads((ROOT / "packaging/grafana-dashboard.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return [one.replace("$instance", ".*").replace("$__rate_interval", "15s") for one in found]


def expressions_of_alerts():
    text = (ROOT / "packaging/alerts.yml").read_text()
    found = re.findall(r"expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", text)
    return [" ".join(folded.split()) or plain for folded, plain in found]
