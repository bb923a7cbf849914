"""What is done on each system, one step after the other, and what came of it."""

import os
import re
import time
from dataclasses import dataclass

from harness.built import ROOT
from harness.run import result, run

from . import image, said

# Their versions, beside those of OpenSSL, glibc and gcc.
SERVERS = ("nginx-light", "haproxy", "apache2", "lighttpd", "hitch", "stunnel4", "dovecot-imapd",
           "postgresql", "redis-server")
VERSIONS = f"""
openssl version | cut -d ' ' -f 2
ldd --version | sed -n '1s/.* //p'
gcc -dumpfullversion
dpkg-query -W -f '${{Package}} ${{Version}}\\n' {' '.join(SERVERS)} 2>/dev/null
"""


@dataclass(frozen=True)
class Step:
    name: str
    title: str
    words: str = ""  # of a shell, in the clone; if not those of the servers
    minutes: int = 20
    fresh: bool = False  # on a system without any package of ours, in a clone that nobody has built
    target: str = ""  # of .ci/steps, which is the same
    servers: tuple = ()  # parts of tests/servers/run.py

    @property
    def script(self):
        return self.words or f"tests/servers/run.py {' '.join(self.servers)}"


WHOLE = (
    Step("demo", "`make demo` on a fresh system, in a new clone", "make demo", 60, fresh=True, target="demo"),
    Step("test", "`make test` after it", "make test", 120, fresh=True),
)
# All but the last, which `make test-upstream` is, are parts of `make test`.
PARTS = (
    Step("rust", "Rust tests", "make rust-test", 60, target="rust-test"),
    Step("c", "all C tests, three ways each", "c-tests/run.sh $NAMES", 60, target="c-test"),
    Step("command", "the command", "tests/cli.sh && tests/enable.sh", target="cli-test"),
    Step("install", "`make install`", "make install-test", target="install-test"),
    Step("nginx", "nginx", minutes=40, servers=("nginx", "nginx_packaged")),
    Step("quic", "nginx and HAProxy over QUIC", servers=("nginx_quic", "haproxy_quic")),
    Step("haproxy", "HAProxy", minutes=40, servers=("haproxy",)),
    Step("apache", "Apache", minutes=40, servers=("apache2",)),
    Step("dovecot", "Dovecot", servers=("dovecot",)),
    Step("stunnel", "stunnel", servers=("stunnel4", "redirect")),
    Step("servers", "other servers, tickets, admission", minutes=90, servers=(
        "lighttpd", "hitch", "postgresql", "vsftpd", "mosquitto", "memcached", "uwsgi", "dnsdist",
        "named", "puma", "ruby", "cyrus", "hostapd", "freeradius", "kamailio", "tickets", "admission",
        "early_data")),
    Step("upstream", "all C tests on a libssl as upstream links it", "c-tests/run.sh --upstream $NAMES", 60,
         target="test-upstream"),
)
STEPS = (*WHOLE, *PARTS)
# These build by themselves, and are left out where a build is given.
BUILDING = ("demo", "test", "rust", "install")
BUILD = "/src/target/release"

# Scripts of $CASES, which are no part of the tree: each ends with 0, or 77 if it cannot be run.
CASES = Step("cases", "", """
passed=0 failed=0 skipped=0
for case in /cases/*.sh; do
    status=0
    timeout -k 5 300 bash "$case" "$LIBDIR" >"$case.log" 2>&1 </dev/null || status=$?
    case $status in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        *) failed=$((failed + 1)); echo "FAIL $(basename "$case"): $(tail -n 1 "$case.log")" ;;
    esac
done
echo "cases: $passed passed, $failed failed, $skipped skipped"
""", 90)


def chosen():
    """Those that STEPS names; else the whole, or with a build what can be done with it."""
    known = (*STEPS, CASES) if "CASES" in os.environ else STEPS
    usual = PARTS if "BUILT" in os.environ else WHOLE
    wanted = os.environ.get("STEPS", "").split() or [step.name for step in (*usual, CASES)]
    left_out = BUILDING if "BUILT" in os.environ else ()
    return [step for step in known if step.name in wanted and step.name not in left_out]


class Place:
    """A clone in a system, which stays through the steps."""

    def __init__(self, system, folder, fresh):
        self._image = system.fresh if fresh else system.image
        self._system, self._fresh, self._changes = system, fresh, folder / "changes"
        self._clone = folder / "clone"
        folder.mkdir()
        run("git", "clone", "--quiet", ROOT, self._clone)

    def _enter(self, words, seconds, through=()):
        binds = [*image.toolchain(), "--bind", self._clone, "/src"]
        if cases := os.environ.get("CASES"):
            binds += ["--bind", cases, "/cases"]
        built = BUILD
        if folder := os.environ.get("BUILT"):
            binds += ["--bind", folder, "/built"]
            built = "/built"
        # make says itself where the library is.
        given = "" if self._fresh else f" LIBDIR={built} SESSCACHE_BIN={built}/sesscache"
        given += f" PATIENCE={os.environ.get('PATIENCE', '1')} NAMES='{os.environ.get('NAMES', '')}'"
        script = f"export CARGO_NET_OFFLINE=true{given}; cd /src; {words}"
        return result(image.ENTER, self._image, self._changes, *["--network"][:self._fresh], *binds,
                      *image.variables(), "bash", "-c", script, seconds=seconds, through=through)

    def versions(self):
        openssl, glibc, gcc, *servers = self._enter(VERSIONS, 60).stdout.splitlines()
        return versions("HEAD", openssl, glibc, gcc, dict(line.split() for line in servers))

    def run(self, step):
        """What came of it, by name of the step; of `make test` also of its parts."""
        began = time.monotonic()
        log = image.log_of(self._system, step)
        # As it comes, so that the log of an hour can be looked at, and shows where it was ended.
        written = ("sh", "-c", 'exec "$@" >"$0" 2>&1', log)
        done = self._enter(step.script, step.minutes * 60, written)
        text = log.read_text(errors="replace")
        good, bad, skipped = said.counts(text)
        if done.returncode != 0 and bad == 0 or good + bad + skipped == 0:
            good, bad = good + (done.returncode == 0), bad + (done.returncode != 0)
        found = dict(said.of_make_test(text, STEPS)) if step.name == "test" else {}
        found[step.name] = said.result(text, time.monotonic() - began, (good, bad, skipped))
        print(f"{self._system.name}, {step.name}: {good} passed, {bad} failed, {skipped} skipped ({log})",
              flush=True)
        load = round(os.getloadavg()[2 if step.minutes > 20 else 1])
        return {name: each | {"load": load} for name, each in found.items()}


def versions(commit, openssl, glibc, gcc, packages):
    """As docs/SYSTEMS.md shows them; of the commit it is the day."""
    day = run("git", "-C", ROOT, "log", "-1", "--format=%cs", commit).strip()
    found = {"sesscache of": day, "OpenSSL": openssl, "glibc": glibc, "gcc": gcc}
    return found | {name.removesuffix("-light"): _upstream(packages[name])
                    for name in SERVERS if name in packages}


def _upstream(version):
    """Debian's version without epoch and revision."""
    return re.sub(r"[-+~].*", "", version.partition(":")[2] or version)
