"""docs/SYSTEMS.md, written from the last results of each system, which stay beside the images."""

import json
import os

from harness.built import ROOT

from . import image, said, steps

PAGE = ROOT / "docs" / "SYSTEMS.md"
RESULTS = image.CACHE / "results.json"
HEAD = """\
# Systems

`make test-systems` writes this page. For each system it makes an image with mmdebstrap. On a fresh one, which has
make, git and what every Debian has, it runs `make demo` and then `make test` in a new clone of this tree. They install
their packages, and build. The rows below `make test` are parts of it. On a system without a cell of `make test` they
were run by themselves in an image that has the packages, with a build of Debian 12. The Rust is that of the machine.
Debian 13's cargo (1.85) is older than the build needs, and `make` says so in a line before it installs anything.

A cell says how many checks passed of those that ran, and how long it took on two cores that other work
shared; *load* is the average number of processes that wanted one of them. *Skipped* checks need something that
the system lacks; the notes below the tables name it, and say why a cell is empty. The last row is of Debian 12
alone: its libssl, 3.6, is built from upstream's source, and is the same everywhere. In the last column programs that are
compiled there use OpenSSL 4. Debian's servers are built with OpenSSL 3, and have that beside it.

CI runs the C tests on Debian 13 as well, with its library of Debian 12 preloaded (`make test-debian13`). To make an
image for them takes two minutes, and the tests take two. All else is run by hand.
"""

READ = """\
The column of {} comes from the log of `.ci/run` on such a machine. It builds all before `make demo`, and had the
machine for itself.
"""

ECH = """\
## Encrypted Client Hello

OpenSSL 4.0 has it. A session is bound to the encrypted name: `store_ech`, one of the C tests, tries that with
stateful and stateless tickets between two processes, and is skipped on an older OpenSSL. No server of these systems
can do it. nginx 1.30 has `ssl_ech_file`. But Debian builds it, as all of forky's servers, with OpenSSL 3, and it says
"not supported on this platform". HAProxy 3.2 has no setting for it.
"""

PROCESSORS = """\
## Processors

These tables are of x86-64. `make test-processors` builds the library for arm64 with forky's Rust, and runs C tests
on it under QEMU, with OpenSSL 3.6. QEMU shows loads and stores in the order of x86-64. So this tests neither the
fences nor the speed on such a machine: the fences have models (`make loom`). On 2026-11-30 its 21
C tests passed: 55 of 55. A build for a processor of 32 bits is refused.
"""


# Why a cell is empty, by names of the system and of the step.
_PARTS = "not run as a whole yet; its parts were run by themselves"
_SERVERS = "Debian builds these servers with OpenSSL 3 there: they are those of forky's column"
NOT_RUN = {
    ("forky", "test"): _PARTS,
    ("openssl4", "test"): _PARTS,
    **{("openssl4", step.name): _SERVERS for step in steps.PARTS if step.servers},
}


def results():
    """By name of the system, and of the step."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def note(system, found, programs):
    """Keeps results of a system, by name of the step. The rest that is known of it stays: a fresh
    one has few programs."""
    known = results()
    before = known.setdefault(system.name, {})
    if os.environ.get("NAMES"):
        found = {name: said.again(before[name], each) for name, each in found.items()}
    before.update(found | {"programs": before.get("programs", {}) | programs})
    RESULTS.write_text(json.dumps(known, indent=1))


def write():
    found = results()
    known = [system for system in image.SYSTEMS.values() if system.name in found]
    read = [system.title for system in known if found[system.name].get("test", {}).get("read")]
    lines = [HEAD, *(READ.format(title) for title in read),
             "## Versions", "", *_table(known, _versions(known, found)), "",
             "## Tests", "", *_table(known, _tests(known, found)), "", *_notes(known, found), "", ECH, PROCESSORS]
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


def _table(known, rows):
    head = ["", *(system.title for system in known)]
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def _line(cells):
    return "| " + " | ".join(cells).strip() + " |"


def _versions(known, found):
    names = dict.fromkeys(name for system in known for name in found[system.name]["programs"])
    for name in names:
        yield [name, *(found[system.name]["programs"].get(name, "") for system in known)]


def _tests(known, found):
    for step in steps.STEPS:
        if any(step.name in found[system.name] for system in known):
            yield [step.title, *(_cell(found[system.name].get(step.name)) for system in known)]


def _cell(result):
    if result is None:
        return ""
    passed, failed, skipped = (result[name] for name in ("passed", "failed", "skipped"))
    if not passed + failed:
        return f"{skipped} skipped"
    more = f", {skipped} skipped" if skipped else ""
    load = f" at load {result['load']}" if "load" in result else ""
    return f"{passed} of {passed + failed}{more}, {result['seconds']} s{load}"


def _notes(known, found):
    """What was red or skipped, of each system; of `make test` its parts say that. A `note` was written
    into the results by hand, and stays until the step runs again."""
    for system in known:
        for step in steps.STEPS:
            result = found[system.name].get(step.name)
            told = result and (result["failed"] or step.name != "test" and result["said"])
            if told:
                yield f"- {system.title}, {step.title}: {result['said'] or 'see its log'}"
            if result and "note" in result:
                yield f"- {system.title}, {step.title}: {result['note']}"
        yield from _not_run(system, found[system.name])


def _not_run(system, found):
    """A line for each reason, with the steps that it holds for."""
    titles_of = {}
    for step in steps.STEPS[:-1]:
        if step.name not in found:
            reason = NOT_RUN.get((system.name, step.name), "not run yet")
            titles_of.setdefault(reason, []).append(step.title)
    for reason, titles in titles_of.items():
        yield f"- {system.title}, {'; '.join(titles)}: {reason}"
