"""A part in network, mount and process namespaces of its own. When it ends, or is killed, nothing
is left of what it made; its addresses exist nowhere else. For verdicts.main's `around`."""

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict

from .run import run
from .verdicts import Counts, Skipped

_NEW = 0x00020000 | 0x20000000 | 0x40000000  # CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET
_SET_DEATH_SIGNAL = 1


def apart(run_part):
    """Runs the part in a child, which is the first process of its namespaces; its Counts.

    It raises AssertionError if the child ends without a word."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _as_child(run_part, writing)
    os.close(writing)
    try:
        with open(reading) as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    if told:
        return Counts(**json.loads(told))
    raise AssertionError(f"its process ended with {os.waitstatus_to_exitcode(status)}")


def must_be_possible():
    """Skipped, with the reason, if this machine does not let us."""
    if os.geteuid() != 0:
        raise Skipped("only root can make network namespaces")

    def try_it():
        run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        run("ip", "netns", "add", "one")
        run("ip", "link", "add", "name", "one", "type", "bridge")
        return Counts(passed=1)

    try:
        apart(try_it)
    except AssertionError as error:
        raise Skipped(f"no namespaces here: {error}, see above") from None


def _as_child(run_part, pipe):
    """Two processes: ours waits for the first of the new namespace; both end with the harness."""
    try:
        _end_with_parent()
        _unshare()
        first = os.fork()
        if first == 0:
            _end_with_parent()
            os.makedirs("/run/netns", exist_ok=True)
            run("mount", "--make-rprivate", "/")
            run("mount", "-t", "proc", "proc", "/proc")
            told = json.dumps(asdict(run_part()))
            sys.stdout.flush()
            os.write(pipe, told.encode())
            os._exit(0)
        os.close(pipe)
        _, status = os.waitpid(first, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0x7F)
    except BaseException as error:
        print(f"     {error}", flush=True)
        os._exit(1)


def _end_with_parent():
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _unshare():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW) != 0:
        raise OSError(ctypes.get_errno(), "cannot make namespaces")
