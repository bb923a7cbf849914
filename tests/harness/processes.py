"""Processes in the background: started, asked, ended; at the end of a part none is left.

Each is the first of a session of its own, away from the signals of our terminal. Everything in that
session, and everything below it, ends with it."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .run import command_line, environment

_running = []


@dataclass(eq=False)
class Process:
    """A program in the background. `log` gets its stdout and stderr."""

    name: str
    popen: subprocess.Popen
    log: Path

    @property
    def pid(self):
        return self.popen.pid

    def send(self, number):
        """A signal."""
        assert self.popen.returncode is None, f"{self.name} has ended"
        os.kill(self.pid, number)

    def alive(self):
        return self.popen.returncode is None and alive(self.pid)

    def dead(self):
        return not self.alive()

    def status(self, seconds=10):
        """Its exit status, when it has ended within that time; negative: the signal.

        It stays a zombie until `kill`, so that its pid is nobody else's."""
        end = time.monotonic() + seconds
        while self.alive():
            assert time.monotonic() < end, f"{self.name} did not end within {seconds} s"
            time.sleep(0.005)
        if self.popen.returncode is not None:
            return self.popen.returncode
        seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def end(self, number=signal.SIGTERM, seconds=1):
        """Sends the signal; the status, if that comes within the time. Kills it if not."""
        began = time.monotonic()
        self.send(number)
        try:
            status = self.status(10)
            took = time.monotonic() - began
        finally:
            self.kill()
        assert took < seconds, f"{self.name} took {took:.1f} s to end"
        return status

    def kill(self):
        """With SIGKILL, the process and all that came from it."""
        kill_families([self])

    @contextlib.contextmanager
    def paused(self):
        """Stopped while the block runs."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)


def start(*words, log, name=None, through=(), env=None, **more):
    """Starts a program in the background. env: what is added to the clean environment.

    through: a command that becomes this one, so that the pid is the program's: ("nsenter", ...)."""
    command = command_line(words, through, env)
    log = Path(log)
    with open(log, "ab") as output:
        popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                 env=environment(), start_new_session=True, **more)
    process = Process(name or os.path.basename(words[0]), popen, log)
    _running.append(process)
    return process


def kill_everything():
    """All that `start` started and that still runs."""
    kill_families(list(_running))


def kill_families(processes):
    """Kills them and everything that came from them, and waits until all are dead."""
    # A pid that was waited for may be another process's by now.
    roots = [process.pid for process in processes if process.popen.returncode is None]
    # Stopped, they start no more processes while we look for those they have.
    _signal_all(roots, signal.SIGSTOP)
    everybody = family(*roots)
    _signal_all(everybody, signal.SIGKILL)
    for process in processes:
        process.popen.wait()
        if process in _running:
            _running.remove(process)
    end = time.monotonic() + 5
    while any(map(alive, everybody)):
        assert time.monotonic() < end, f"not all die: {everybody}"
        time.sleep(0.005)


def _signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
            os.kill(pid, number)


# --- by pid, as /proc tells ---------------------------------------------------------------------

def status_fields(pid):
    """The fields after the name in /proc/PID/stat: state, parent, group, session, ... or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2:].split()


def alive(pid):
    """A zombie, for whose end nobody has asked yet, is dead; but its threads may end later than the
    first of them, and hold its sockets until then."""
    fields = status_fields(pid)
    return fields is not None and (fields[0] not in "ZX" or _has_threads(pid))


def _has_threads(pid):
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    return False


def dead(pid):
    return not alive(pid)


def all_dead(pids):
    return not any(map(alive, pids))


def _table():
    """(pid, parent, session) of every process that lives, by ascending pid."""
    rows = []
    for entry in os.listdir("/proc"):
        fields = status_fields(entry) if entry.isdigit() else None
        if fields is not None and fields[0] not in "ZX":
            rows.append((int(entry), int(fields[1]), int(fields[3])))
    return sorted(rows)


def children(pid):
    return [each for each, parent, _ in _table() if parent == pid]


def descendants(pid):
    """Without itself."""
    return _below(_table(), [pid])


def family(*pids):
    """The processes, all in their sessions, and their descendants: those of them that live."""
    table = _table()
    members = [each for each, _, session in table if each in pids or session in pids]
    return sorted({*members, *_below(table, members)})


def _below(table, pids):
    found, ahead = [], list(pids)
    while ahead:
        pid = ahead.pop()
        below = [each for each, parent, _ in table if parent == pid and each not in found]
        found += below
        ahead += below
    return sorted(found)


def processor_ms(pid):
    """Processor time so far, user's and system's, in milliseconds."""
    fields = status_fields(pid)
    assert fields is not None, f"process {pid} is gone"
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def most_memory_kib(pid):
    """The most memory it ever had in use (VmHWM)."""
    return int(_status_value(pid, "VmHWM").split()[0])


def has_no_signal_pending(pid):
    """Whether every signal that was sent has been delivered, or is ignored."""
    return all(int(_status_value(pid, name), 16) == 0 for name in ("SigPnd", "ShdPnd"))


def _status_value(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.split(":", 1)[1].strip()
    raise AssertionError(f"process {pid} has no {name}: it is dead")


def maps(pid, text):
    """Whether a file whose path has this in it is mapped."""
    try:
        return text in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
