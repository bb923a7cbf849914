"""What is done on each system, one step after the other, and what came of it."""

import os
import re
import time
from dataclasses import dataclass

from harness.built import ROOT
from harness.run import result, run

from . import image

# Their versions, beside those of OpenSSL, glibc and gcc.
SERVERS = ("nginx", "haproxy", "apache2", "lighttpd", "hitch", "stunnel4", "dovecot-imapd",
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
    words: str  # of a shell, in the clone
    minutes: int = 20


STEPS = (
    Step("demo", "`make demo`, which builds all", "make demo", 60),
    Step("rust", "Rust tests", "make rust-test", 60),
    Step("differing", "C tests in which OpenSSL's versions differ, three ways each",
         "c-tests/run.sh flush null timeouts reentry reentry_changes quic"),
    Step("c", "all C tests, three ways each", "c-tests/run.sh", 60),
    Step("command", "the command", "tests/cli.sh && tests/enable.sh"),
    Step("install", "`make install`", "make install-test"),
    Step("nginx", "nginx", "tests/servers/run.py nginx nginx_packaged", 40),
    Step("quic", "nginx and HAProxy over QUIC", "tests/servers/run.py nginx_quic haproxy_quic"),
    Step("haproxy", "HAProxy", "tests/servers/run.py haproxy", 40),
    Step("apache", "Apache", "tests/servers/run.py apache2", 40),
    Step("dovecot", "Dovecot", "tests/servers/run.py dovecot"),
    Step("stunnel", "stunnel", "tests/servers/run.py stunnel4 redirect"),
    Step("servers", "other servers, tickets, admission",
         "tests/servers/run.py lighttpd hitch postgresql vsftpd mosquitto memcached uwsgi dnsdist"
         " named puma ruby cyrus hostapd freeradius kamailio tickets admission early_data", 90),
)
# These build by themselves, and are left out where a build is given.
BUILDING = ("demo", "rust", "install")
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
    known = (*STEPS, CASES) if "CASES" in os.environ else STEPS
    wanted = os.environ.get("STEPS", "").split() or [step.name for step in known]
    left_out = BUILDING if "BUILT" in os.environ else ()
    return [step for step in known if step.name in wanted and step.name not in left_out]


class Place:
    """A clone in a system, which stays through the steps."""

    def __init__(self, system, folder):
        self.system, self._changes = system, folder / "changes"
        self._clone = folder / "clone"
        run("git", "clone", "--quiet", ROOT, self._clone)

    def _enter(self, words, seconds):
        binds = [*image.toolchain(), "--bind", self._clone, "/src"]
        if cases := os.environ.get("CASES"):
            binds += ["--bind", cases, "/cases"]
        built = BUILD
        if folder := os.environ.get("BUILT"):
            binds += ["--bind", folder, "/built"]
            built = "/built"
        script = (f"export CARGO_NET_OFFLINE=true LIBDIR={built} SESSCACHE_BIN={built}/sesscache;"
                  f" cd /src; {words}")
        return result(image.ENTER, self.system.image, self._changes, *binds, *image.variables(),
                      "bash", "-c", script, seconds=seconds)

    def versions(self):
        openssl, glibc, gcc, *servers = self._enter(VERSIONS, 60).stdout.splitlines()
        return {"OpenSSL": openssl, "glibc": glibc, "gcc": gcc} | {
            name: _upstream(version) for name, version in (line.split() for line in servers)}

    def run(self, step):
        """Its counts, its seconds, and the lines that say what was red or skipped."""
        began = time.monotonic()
        done = self._enter(step.words, step.minutes * 60)
        said = done.stdout + done.stderr
        log = image.CACHE / f"{self.system.name}-{step.name}.log"
        log.write_text(said)
        counts = _counts(said)
        if done.returncode != 0 and counts[1] == 0 or sum(counts) == 0:
            counts = (counts[0] + (done.returncode == 0), counts[1] + (done.returncode != 0),
                      counts[2])
        passed, failed, skipped = counts
        print(f"{self.system.name}, {step.name}: {passed} passed, {failed} failed,"
              f" {skipped} skipped ({log})", flush=True)
        return {"passed": passed, "failed": failed, "skipped": skipped,
                "seconds": round(time.monotonic() - began), "said": _reasons(said),
                "load": round(os.getloadavg()[1])}


def _upstream(version):
    """Debian's version without epoch and revision."""
    return re.sub(r"[-+~].*", "", version.partition(":")[2] or version)


def _counts(said):
    """As .ci/steps counts: suites and cargo close with their counts."""
    found = re.findall(r"^[a-z-]+: (\d+) passed, (\d+) failed(?:, (\d+) skipped)?", said, re.M)
    rust = re.findall(r"^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored", said, re.M)
    columns = list(zip(*found + rust, strict=True))
    return tuple(sum(int(each or 0) for each in column) for column in columns) or (0, 0, 0)


def _reasons(said):
    lines = re.findall(r"^(?:FAIL|SKIP|# skipped|\s*# skipped|\S+: failed) ?(.*)$", said, re.M)
    return "; ".join(dict.fromkeys(line.strip() for line in lines))[:300]
