"""A new key comes to three hosts, one by one: first behind the old one everywhere, then before it,
then alone. After each step all sessions resume on all hosts, old ones and new ones, by id and in
tickets; and when the old key goes, the sessions that were made under the new one.

The old key is a ratchet of some days ago. Before all that the hosts step it on, one by one."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.run import run
from harness.tls import write_secret
from harness.verdicts import check, fail, happens, same, wait_until

from .host import KINDS

FEW = 4  # connections that offer one session
HOSTS = ("a", "b", "c")
EPOCH = 6 * 60 * 60


def rotation(scene):
    keys = KeyFiles.make(scene)
    scene.start_redis()
    scene.add_hosts(*HOSTS)
    for host in scene.hosts.values():
        use_keys(host, keys.first)
    turn_in_wrong_order(scene, keys)
    tally = Tally(scene)
    tally.make_sessions("old")
    tally.step("before", "old")
    for host in scene.hosts.values():
        use_keys(host, keys.stepped)
        tally.step(f"the old key stepped on on {host.name}", "old")
    for host in scene.hosts.values():
        use_keys(host, keys.added)
        tally.step(f"new key second on {host.name}", "old")
    for host in scene.hosts.values():
        use_keys(host, keys.promoted)
        tally.step(f"new key first on {host.name}", "old")
    tally.make_sessions("young")
    for host in scene.hosts.values():
        use_keys(host, keys.alone)
        tally.step(f"old key gone from {host.name}", "young")
    print(f"key rotation on three hosts: {tally.offered - tally.lost} of {tally.offered}"
          " connections resumed")
    scene.check_health()


@dataclass(frozen=True)
class KeyFiles:
    """The key file before, and after each step, made on one host and copied to the others."""

    first: Path
    stepped: Path
    added: Path
    promoted: Path
    alone: Path

    @classmethod
    def make(cls, scene):
        def change(old, name, *words):
            new = scene.work / name
            shutil.copy(old, new)
            run(scene.prepared.command, *words, new)
            return new

        first = scene.work / "first_key"
        write_secret(first, f"{int(time.time()) // EPOCH - 12}:{'5a' * 32} 2026-11-28\n")
        stepped = change(first, "stepped_key", "ratchet")
        added = change(first, "added_key", "keygen", "--next")
        promoted = change(added, "promoted_key", "keygen", "--promote")
        alone = change(promoted, "alone_key", "keygen", "--keep", 1)
        return cls(first, stepped, added, promoted, alone)


def use_keys(host, file):
    """As an operator would: write the file, reload the server."""
    host.set_keys(file)
    host.reload_server()


def turn_in_wrong_order(scene, keys):
    """In the wrong order sessions are lost, or this test would not see it if they were."""
    a, b = scene.hosts["a"], scene.hosts["b"]
    use_keys(a, keys.promoted)
    saved = [(a.save(kind), b.save(kind)) for kind in KINDS]
    for of_a, of_b in saved:
        check(f"new key first on a alone, {of_b.kind}: b's session resumes on a", wait_until, 5,
              a.resumes, of_b, FEW)
        check(f"new key first on a alone, {of_a.kind}: a's session does not resume on b, which"
              " misses", b.resumes_none, of_a, FEW)
    use_keys(a, keys.first)


@dataclass
class Tally:
    """sessions: of each age, those of each host and kind. The connections that offered them."""

    scene: object
    sessions: dict = field(default_factory=dict)
    offered: int = 0
    lost: int = 0

    def make_sessions(self, age):
        self.sessions[age] = [(host, host.save(kind, name=f"{age}-"))
                              for host in self.scene.hosts.values() for kind in KINDS]

    def step(self, what, age):
        """Makes new sessions, and offers those of the age and the new ones on each host."""
        before = self.lost
        self.make_sessions("new")
        for each in (age, "new"):
            self._offer_all(each, what)
        check(f"{what}: nothing is lost", same, before, self.lost)

    def _offer_all(self, age, what):
        patience = 5 if age == "new" else 0  # only new ones may take a moment
        for source, sessions in self.sessions[age]:
            for target in self.scene.hosts.values():
                self.offered += FEW
                if not happens(patience, target.resumes, sessions, FEW):
                    self.lost += FEW
                    fail(f"{what}: the {age} session of {source.name}, {sessions.kind}, does not"
                         f" resume on {target.name}")
