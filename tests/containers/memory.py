"""A control group of memory, of either version: the limit of a container."""

import contextlib
import re
import secrets
from pathlib import Path

from harness.verdicts import Skipped, wait_until

PLACES = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
          ("/sys/fs/cgroup", "memory.max", "memory.events"))


@contextlib.contextmanager
def limited(mebibytes):
    """The folder of such a group, which goes when its processes have ended."""
    group = _make(mebibytes)
    try:
        yield group
    finally:
        wait_until(10, _is_removed, group)


def killed_in(group):
    """How many processes the kernel has killed because there was no more memory."""
    texts = [(group / name).read_text() for *_, name in PLACES if (group / name).exists()]
    return sum(int(count) for text in texts for count in re.findall(r"^oom_kill (\d+)", text, re.M))


def _make(mebibytes):
    for place, limit, _ in PLACES:
        group = Path(place) / f"sesscache-test-{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                # Not made by us, who would make a file of it.
                with open(group / limit, "r+") as file:
                    file.write(str(mebibytes << 20))
                return group
            except OSError:
                group.rmdir()
    raise Skipped("no control group of memory can be made")


def _is_removed(group):
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
