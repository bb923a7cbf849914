"""An agent steps key files on: at its start, in each new epoch, and never by a clock that may be
wrong."""

import re
import time

from harness.packages import need
from harness.run import run
from harness.tls import make_key_file, write_secret
from harness.verdicts import check, same, wait_until

from .clocks import Clock

EPOCH = 6 * 60 * 60
KEPT = 4  # epochs: a day
LINE = re.compile(r"^(\d+):([0-9a-f]{64}) 2026-11-28\n$")


def key_files(scene):
    clock = Clock(scene, need("/usr/lib/*/faketime/libfaketime.so.1", "libfaketime"))
    faked = {"LD_PRELOAD": str(clock.library), **clock.environment}
    scene.start_redis()
    a = scene.host("a")
    file, other, plain = (scene.work / name for name in ("first.key", "second.key", "plain.key"))
    first = write_ratchet(file, 10)
    write_ratchet(other, 10)
    make_key_file(plain)
    names = [option for path in (file, other, plain) for option in ("--key-file", path)]
    a.start_agent(*names, env=faked)
    check("the files are stepped on at once", wait_until, 5, is_at, file, first + 10 - KEPT)
    check("each of them", wait_until, 5, is_at, other, first + 10 - KEPT)
    check("they are the same still", same, file.read_text(), other.read_text())
    check("a plain one is told of", a.agent.says_soon, "plain.key has plain keys only")
    clock.shows("+6h")
    check("in the next epoch again", wait_until, 5, is_at, file, first + 11 - KEPT)
    check("the agent carries sessions meanwhile", a.agent.says_soon, "connected to Redis")
    clock.shows("+60d")
    check("a clock far ahead is not believed", a.agent.says_soon,
          r"a key file is not stepped on: .*first.key is \d+ days behind the clock.*--force")
    check("nothing was stepped", is_at, file, first + 11 - KEPT)
    clock.shows("-7d")
    check("a clock that is behind is told of", a.agent.says_soon, "first.key is as it was.* to come")
    check("nor by a clock that is behind", is_at, file, first + 11 - KEPT)
    clock.shows("+12h")
    check("a right one goes on", wait_until, 5, is_at, file, first + 12 - KEPT)
    same_by_hand(scene, file, first)
    scene.end_agents()
    once(scene, a)


def same_by_hand(scene, file, first):
    """The command, by a day that is shorter, comes to the same state."""
    by_hand = scene.work / "by_hand.key"
    write_ratchet(by_hand, 10)
    steps = 12 - KEPT
    run(scene.command, "ratchet", "--max-lifetime", str((10 - steps) * EPOCH), by_hand)
    check("the command steps in the same way", same, file.read_text(), by_hand.read_text())
    check("by as many steps", is_at, by_hand, first + steps)


def once(scene, host):
    """With --once each file is stepped on once; a missing one does not stop the rest."""
    file = scene.work / "once.key"
    first = write_ratchet(file, 20)
    host.start_agent("--once", "--key-file", scene.work / "none.key", "--key-file", file,
                     tells=False)
    check("once ends", lambda: same(0, host.agent.process.status(20)))
    check("once steps", is_at, file, first + 20 - KEPT)
    check("a missing file is told of", host.agent.says, "not stepped on: .*none.key does not exist")


def write_ratchet(file, epochs_ago):
    """A file whose state is that of an epoch so long ago. Returns its number."""
    epoch = int(time.time()) // EPOCH - epochs_ago
    write_secret(file, f"{epoch}:{'5a' * 32} 2026-11-28\n")
    return epoch


def is_at(file, epoch):
    """An epoch may have ended since it was written."""
    found = LINE.match(file.read_text())
    assert found, file.read_text()
    assert int(found[1]) in (epoch, epoch + 1), f"it is at {found[1]}, not at {epoch}"
    return True
