#!/usr/bin/env bash
# Fact 15: what an operator should know goes to the system's log, unless SESSCACHE_LOG says
# otherwise; a log that cannot be written disturbs nobody. In a namespace with its own /dev/log.
source "$(dirname "$0")/script.bash"

command -v python3 >/dev/null || skip "no python3"
namespace=(unshare --mount)
[ "$(id -u)" = 0 ] || namespace=(unshare --mount --map-root-user)
"${namespace[@]}" mount -t tmpfs none /dev 2>/dev/null || skip "no mount namespace can be made here"

# A server: other programs log nothing, see noise.sh.
"$CC" -std=c11 "${includes[@]}" "$ROOT/c-tests/noise/side.c" -o side "${libraries[@]}" -lssl -lcrypto

cat >listen.py <<'PYTHON'
import os, socket, subprocess, sys

overlay = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "none", "/dev"], check=True)


def said(log=None, zero="sometimes"):
    """What reaches the system's log when a program starts so, and whether it went well."""
    settings = {"LD_PRELOAD": overlay, "SESSCACHE_NEW_CB_ZERO": zero}
    if log is not None:
        settings["SESSCACHE_LOG"] = log
    settings["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    child = subprocess.Popen(["./side", "server"], env=settings)
    status = child.wait(timeout=20)
    lines = []
    while True:
        try:
            lines.append(log_socket.recv(4096).decode().replace(f"[{child.pid}]", "[pid]"))
        except BlockingIOError:
            return status, lines


log_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
log_socket.bind("/dev/log")
# Facility daemon, severity warning.
start = "<28>sesscache[pid]: SESSCACHE_"
for log in None, "", "syslog":
    status, lines = said(log)
    assert status == 0 and len(lines) == 1, (log, status, lines)
    assert lines[0].startswith(start + "NEW_CB_ZERO=sometimes is neither"), lines
for log in "off", os.getcwd() + "/log":
    assert said(log) == (0, []), log
assert said(None, "keep") == (0, [])
status, lines = said("nowhere")
assert status == 0 and len(lines) == 2 and lines[0].startswith(start), lines

# Nobody reads, until no more fits: the program does not wait.
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
unread = 0
try:
    while True:
        sender.sendto(b"x", "/dev/log")
        unread += 1
except BlockingIOError:
    pass
status, lines = said()
assert status == 0 and len(lines) == unread, (status, len(lines), unread)

# Nobody is there, and then not even the place.
log_socket.close()
unheard = {"LD_PRELOAD": overlay, "SESSCACHE_NEW_CB_ZERO": "x"}
unheard["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
assert subprocess.run(["./side", "server"], env=unheard).returncode == 0
os.unlink("/dev/log")
assert subprocess.run(["./side", "server"], env=unheard).returncode == 0
PYTHON
"${namespace[@]}" python3 listen.py "$(realpath "$overlay")" >output 2>&1 || fail "$(<output)"
finish
