"""Checks and their count, and the program that runs the parts of a harness by name.

A check fails if what it calls returns something false or raises; the text of the exception is
shown. So a predicate returns True, or raises AssertionError with what it found instead.
"""

import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import astuple, dataclass
from pathlib import Path

from . import processes

NOT_RUN = 77
POLL_SECONDS = 0.02


class Skipped(Exception):
    """The part cannot be run on this machine; the text says why."""


class Unusable(Exception):
    """Nothing can be run, because something is missing that everybody has or can build."""


class _TimeIsUp(BaseException):
    """No Exception, so that nobody on the way takes it for a verdict."""


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


counts = Counts()
_part = ""


# --- verdicts -----------------------------------------------------------------------------------

def passed():
    """Counts a good verdict that needs no words."""
    counts.passed += 1


def fail(what, said=""):
    """Counts a bad verdict, and says so."""
    counts.failed += 1
    print(f"FAIL {_part}: {what}", flush=True)
    for line in said.splitlines():
        print(f"     {line}", flush=True)


def note_skip(what):
    """Counts what is not run, and goes on. `raise Skipped(why)` ends the part instead."""
    counts.skipped += 1
    print(f"SKIP {_part}: {what}", flush=True)


def check(what, holds, *arguments):
    """A verdict on a value, or on a function and its arguments. True if it is good."""
    try:
        good = holds(*arguments) if callable(holds) else holds
        said = f"{holds.__qualname__} returned {good!r}" if callable(holds) else ""
    except Exception as error:
        good, said = False, _text_of(error)
    if good:
        passed()
    else:
        caller = sys._getframe(1)
        fail(what, f"{_place(caller.f_code.co_filename, caller.f_lineno)}\n{said}")
    return bool(good)


def _place(file, line):
    return f"{os.path.relpath(file)}:{line}"


def _place_of(error):
    """The innermost line of a part, which is none of this library's."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if Path(frame.filename).parent != Path(__file__).parent]
    return _place(outside[-1].filename, outside[-1].lineno) if outside else ""


def _text_of(error):
    """The exception's text, or all of it if it comes from a mistake in the test."""
    if isinstance(error, (AssertionError, OSError, _TimeIsUp)):
        return str(error) or type(error).__name__
    return "".join(traceback.format_exception(error))


# --- predicates ---------------------------------------------------------------------------------

def same(expected, found):
    assert expected == found, f"expected: {expected}\nfound:    {found}"
    return True


def at_least(least, found):
    assert found >= least, f"{found} < {least}"
    return True


def at_most(most, found):
    assert found <= most, f"{found} > {most}"
    return True


def raises_nothing(function, *arguments):
    """For a function that says by raising alone that something is wrong."""
    function(*arguments)
    return True


def wait_until(seconds, holds, *arguments):
    """Calls the predicate again and again; True once it holds, AssertionError when time is up.

    In a check that is a bad verdict, outside of one the end of the part."""
    end = time.monotonic() + seconds
    while True:
        said = ""
        try:
            if holds(*arguments):
                return True
        except (AssertionError, OSError) as error:
            said = f": {_text_of(error)}"
        if time.monotonic() >= end:
            words = " ".join([holds.__qualname__, *map(str, arguments)])
            raise AssertionError(f"not within {seconds} s: {words}{said}")
        time.sleep(POLL_SECONDS)


def happens(seconds, holds, *arguments):
    """As wait_until, but False when time is up."""
    try:
        return wait_until(seconds, holds, *arguments)
    except AssertionError:
        return False


# --- parts --------------------------------------------------------------------------------------

@dataclass
class Harness:
    """A program of parts, as main runs it."""

    name: str  # of the closing line, "NAME: N passed, N failed, N skipped"
    parts: dict  # by name: functions of (prepared, work)
    again: str  # the program's path from the root of the repository
    settings: tuple = ()  # environment variables that it reads, for the line that runs a part again
    prepare: object = None  # of the run's folder, once, before any part; Skipped skips them all
    around: object = None  # of a function that runs one part and returns its Counts; returns them
    most_seconds: int = 300  # for a part

    def run(self, names):
        """Runs them; the program's exit code: 1 if anything failed, 77 if nothing could be run."""
        folder = Path(tempfile.mkdtemp(prefix=f"sesscache-{self.name}."))
        folder.chmod(0o711)  # servers that drop to users of their own pass through
        keep = False
        try:
            keep = not self._run_in(folder, names)
        except Unusable as reason:
            print(f"{self.name}: {reason}", file=sys.stderr)
            return 2
        finally:
            processes.kill_everything()
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
        print(f"{self.name}: {counts.passed} passed, {counts.failed} failed,"
              f" {counts.skipped} skipped", flush=True)
        return 1 if counts.failed else 0 if counts.passed else NOT_RUN

    def _run_in(self, folder, names):
        """True if nothing failed."""
        try:
            prepared = self.prepare(folder) if self.prepare else None
        except Skipped as reason:
            for name in names:
                _begin(name)
                note_skip(reason)
            return True
        for name in names:
            work = folder / name
            work.mkdir(mode=0o711)
            began, before = time.monotonic(), Counts(*astuple(counts))
            print(f"== {name}", flush=True)
            self._run_part(name, prepared, work)
            if counts.failed > before.failed:
                print(f"run again: {self.line_for(name)}\n     logs: {work}", flush=True)
            print(f"   ({counts.passed - before.passed} passed, {time.monotonic() - began:.1f} s)",
                  flush=True)
        return counts.failed == 0

    def _run_part(self, name, prepared, work):
        def run():
            before = Counts(*astuple(counts))
            _run_bounded(lambda: self.parts[name](prepared, work), self.most_seconds)
            return Counts(*(now - then for now, then in zip(astuple(counts), astuple(before))))

        _begin(name)
        if self.around is None:
            run()
            return
        try:
            counts.add(self.around(run))
        except AssertionError as error:
            fail("it ended early", str(error))

    def line_for(self, name):
        """The command that runs the part again, from the root of the repository."""
        given = [f"{variable}={shlex.quote(os.environ[variable])}"
                 for variable in self.settings if variable in os.environ]
        return " ".join([*given, self.again, name])


def _begin(name):
    global _part
    _part = name


def _run_bounded(part, most_seconds):
    """The part, and the end of all that it started. Whatever ends it early is one bad verdict."""
    def too_long(*_):
        raise _TimeIsUp(f"it ran for {most_seconds} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(most_seconds)
    try:
        part()
    except Skipped as reason:
        note_skip(reason)
    except (Exception, _TimeIsUp) as error:
        fail("it ended early", f"{_place_of(error)}\n{_text_of(error)}")
    finally:
        signal.alarm(0)
        processes.kill_everything()


def main(name, parts, by_hand=None, **rest):
    """Ends the program, whose arguments are names of parts; none is all but those by_hand.
    rest: as in Harness."""
    names = sys.argv[1:] or list(parts)
    parts = parts | (by_hand or {})
    harness = Harness(name, parts, **rest)
    unknown = [name for name in names if name not in parts]
    if unknown:
        print(f"{harness.name}: no part {' '.join(unknown)}; there are: {' '.join(parts)}",
              file=sys.stderr)
        sys.exit(2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    sys.exit(harness.run(names))


def _leave(number, _):
    """An exception, so that every `finally` on the way out is gone through."""
    raise SystemExit(128 + number)
