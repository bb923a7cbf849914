"""fleet-load, which puts records straight into a host's store, as the library puts sessions, and
looks for them in another's. load/src/main.rs says how it is called."""

from dataclasses import dataclass
from pathlib import Path

from harness import processes
from harness.run import run


@dataclass(frozen=True)
class Load:
    program: Path

    def delay(self, source, target, rate, seconds):
        """How long records take from a host to another: {"sent": "N", "median": "MS", ...}."""
        words = run(self.program, "delay", source.store, target.store, rate, seconds,
                    seconds=120).split()
        return dict(zip(words[::2], words[1::2]))

    def fill(self, host, rate, count):
        """Puts so many, to the end."""
        run(self.program, "fill", host.store, rate, count, _ledger(host))

    def start_filling(self, host, rate, count):
        """As fill, in the background."""
        return processes.start(self.program, "fill", host.store, rate, count, _ledger(host),
                               log=host.folder / "fill.log")

    def compare(self, source, target, ledger=None):
        """Of the records put into a host that its store still holds, how many another's lacks:
        "held N missing N". ledger: of other records."""
        return run(self.program, "compare", source.store, target.store,
                   ledger or _ledger(source)).strip()

    def nothing_is_missing(self, source, target):
        said = self.compare(source, target)
        assert said.endswith(" missing 0"), said
        return True


def _ledger(host):
    return host.folder / "ledger"
