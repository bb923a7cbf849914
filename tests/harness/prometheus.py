"""A real Prometheus in the background, which scrapes every second."""

import json
import urllib.parse

from . import processes
from .network import free_port, http, is_listening
from .verdicts import same, wait_until


class Prometheus:
    """On 127.0.0.1. targets: the ports of agents by the names that become the label `instance`."""

    def __init__(self, work, targets):
        self.port = free_port()
        file = work / "prometheus.yml"
        hosts = "".join(f"      - {{targets: ['127.0.0.1:{port}'], labels: {{instance: {name}}}}}\n"
                        for name, port in targets.items())
        file.write_text("global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: sesscache\n"
                        f"    static_configs:\n{hosts}")
        self.process = processes.start(
            "prometheus", f"--config.file={file}", f"--storage.tsdb.path={work / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}", log=work / "prometheus.log")
        wait_until(30, is_listening, self.port)
        wait_until(30, self._is_ready)

    def _is_ready(self):
        return http(self.port, "/-/ready")[0] == 200

    def ask(self, expression):
        """The instant vector. AssertionError if it cannot be evaluated."""
        return self._query("query", query=expression)

    def ask_range(self, expression, start, end, step):
        """The matrix between two times, in seconds of the epoch."""
        return self._query("query_range", query=expression, start=start, end=end, step=step)

    def _query(self, kind, **words):
        code, body = http(self.port, f"/api/v1/{kind}?" + urllib.parse.urlencode(words))
        found = json.loads(body)
        same((200, "success"), (code, found["status"]))
        return found["data"]["result"]
