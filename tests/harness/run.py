"""A command, run to its end in an environment without the overlay."""

import os
import subprocess

_TAKEN_AWAY = ("LD_PRELOAD", "LD_LIBRARY_PATH", "NOTIFY_SOCKET")


def environment(**added):
    """Ours, without what would reach into what is tested; and with what is added.

    Debian keeps servers where the path of users other than root does not lead."""
    kept = {name: value for name, value in os.environ.items()
            if name not in _TAKEN_AWAY and not name.startswith("SESSCACHE_")}
    path = kept.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    return kept | {"LC_ALL": "C", "PATH": path} | added


def command_line(words, through=(), env=None):
    """The words of a command that runs through another one. What is added to the environment is
    for the command alone: the other may be another user's."""
    added = [f"{name}={value}" for name, value in (env or {}).items()]
    return [str(word) for word in (*through, *(["env", *added] if added else []), *words)]


def run(*words, seconds=60, status=0, through=(), **more):
    """The command's stdout and stderr. AssertionError if it ends with another status.

    status=None: with any. through: a command that runs this one."""
    done = result(*words, seconds=seconds, through=through, **more)
    said = done.stdout + done.stderr
    assert status in (None, done.returncode), \
        f"{words[0]} ended with {done.returncode}, not {status}: {said.strip()}"
    return said


def result(*words, seconds=60, through=(), env=None, **more):
    """As subprocess.run, with text and both outputs kept apart. input="..." is its stdin."""
    command = command_line(words, through, env)
    if "input" not in more:
        more["stdin"] = subprocess.DEVNULL
    try:
        return subprocess.run(command, env=environment(), timeout=seconds, text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              **more)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{words[0]} did not end within {seconds} s") from None
