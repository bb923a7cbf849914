"""A sesscache agent in the background: its log, its metrics, its health."""

import re
import signal
from dataclasses import dataclass

from . import network, processes
from .verdicts import wait_until

PREFIX = "sesscache_"
# The labels that all samples of an agent have.
_OWN_LABELS = re.compile(r'store="[^"]*",name="[^"]*",?')


@dataclass(eq=False)
class Agent:
    process: processes.Process
    metrics: int | None = None  # the port of 127.0.0.1 where it tells
    namespace: str | None = None

    @classmethod
    def start(cls, command, store, redis, log, *options, metrics=None, namespace=None, env=None):
        """store: a path or a URL. redis: a URL or None. Does not wait until it is ready."""
        told = ("--metrics", f"127.0.0.1:{metrics}") if metrics else ()
        process = processes.start(
            command, "agent", "--store", store, *(("--redis", redis) if redis else ()), *told, *options, log=log,
            name=log.stem, through=network.through(namespace),
            env={"RUST_BACKTRACE": "1"} | (env or {}))
        return cls(process, metrics, namespace)

    # --- log ------------------------------------------------------------------------------------

    def log(self):
        return self.process.log.read_text(errors="replace")

    def lines(self, pattern):
        """The log's lines in which the pattern is found."""
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def says(self, pattern):
        assert self.lines(pattern), f"no line says {pattern!r}:\n{self.log()[-2000:]}"
        return True

    def says_soon(self, pattern, seconds=10):
        return wait_until(seconds, self.says, pattern)

    # --- metrics --------------------------------------------------------------------------------

    def page(self, path, accept=None, address="127.0.0.1"):
        """(status code, body)."""
        return network.http(self.metrics, path, address, self.namespace, accept=accept)

    def samples(self):
        """The lines of /metrics without the labels that all have."""
        for line in self.page("/metrics")[1].splitlines():
            yield _OWN_LABELS.sub("", line).replace("{}", "")

    def figure(self, name):
        """The value of a sample, by its name without sesscache_, and with its labels. None: there
        is no such sample."""
        for line in self.samples():
            if line.startswith(f"{PREFIX}{name} "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def total(self, name):
        """The sum of a metric's samples over all labels."""
        pattern = re.compile(rf"{PREFIX}{re.escape(name)}(\{{.*\}})? (\S+)")
        found = map(pattern.fullmatch, self.samples())
        return sum(float(each[2]) for each in found if each)

    def shows(self, name, value):
        """Whether the figure has this value."""
        found = self.figure(name)
        assert found == value, f"{name}\nexpected: {value}\nfound:    {found}"
        return True

    def shows_least(self, name, least):
        found = self.figure(name)
        assert found is not None and found >= least, f"{name}: {found} < {least}"
        return True

    def state_is(self, state):
        """Of Redis, as the agent sees it: ok, unreachable, read-only, full, refused, denied, ..."""
        return self.shows(f'redis_state{{state="{state}"}}', 1)

    def is_healthy(self):
        code, body = self.page("/ready")
        assert code == 200, f"ready says {code}: {body}"
        return True

    def is_unhealthy(self):
        """Which is no reason to start it again."""
        code, body = self.page("/ready")
        assert code != 200, f"ready says {code}: {body}"
        return self.is_live()

    def is_live(self):
        code, body = self.page("/live")
        assert code == 200, f"live says {code}: {body}"
        return True

    # --- end ------------------------------------------------------------------------------------

    def ends(self, number=signal.SIGTERM, seconds=1):
        """Told to end it does so with 0, within the time."""
        status = self.process.end(number, seconds)
        assert status == 0, f"it ended with {status}:\n{self.log()[-2000:]}"
        return True
