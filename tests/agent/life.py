"""The agent's own life: its store goes and comes, signals come, systemd is told."""

import os
import signal
import socket
import subprocess

from harness.processes import alive, has_no_signal_pending
from harness.run import environment
from harness.verdicts import Skipped, check, same, wait_until


def store_replaced(scene):
    scene.start_redis()
    c = scene.host("c")
    c.server.kill()
    c.store.unlink()
    c.start_agent()
    check("it waits for the store", c.agent.says_soon, f"waiting for {c.store}", 5)
    check("and is not healthy", c.agent.is_unhealthy)
    c.start_server()
    check("until it is there", c.agent.says_soon, f"following {c.store}", 5)
    c.server.kill()
    c.store.unlink()
    c.start_server()
    check("a new file is followed", wait_until, 5,
          lambda: same(2, len(c.agent.lines("following"))))
    check("it is well", wait_until, 5, c.agent.is_healthy)
    check("it ends", c.agent.ends)


def another_boot(scene):
    """The store is older than this boot, and the agent sees another boot id than the server, as the units of a
    container do."""
    if os.geteuid() != 0:
        raise Skipped("root alone can give a process another boot id")
    scene.start_redis()
    a, b = scene.host("a"), scene.host("b")
    b.start_agent()
    for boot in ("1" * 8, "2" * 8):
        file = scene.work / "boot_id"
        file.write_text(f"{boot}-2222-3333-4444-555555555555\n")
        a.server.kill()
        a.start_server(through=("unshare", "--mount", "sh", "-c", 'mount --bind "$0" '
                                '/proc/sys/kernel/random/boot_id && exec "$@"', file))
        a.start_agent()
        check(f"boot {boot}: the agent follows", a.agent.says_soon, "connected to Redis")
        a.make(boot, 10)
        check(f"boot {boot}: its sessions resume there", a.resumes, boot, 10)
        check(f"boot {boot}: and on the other host", wait_until, 10, b.resumes, boot, 10)
    check("those of the boot before still resume", a.resumes, "1" * 8, 10)
    scene.end_agents()


class Systemd:
    """Stands for systemd: keeps what it is told."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.told = ""

    def was_told(self, text):
        try:
            while True:
                self.told += self.socket.recv(4096).decode() + "\n"
        except BlockingIOError:
            pass
        assert text in self.told, f"it was told: {self.told}"
        return True


def signals(scene):
    scene.start_redis()
    a, b = scene.host("a"), scene.host("b")
    systemd = Systemd(scene.work / "notify")
    a.start_agent(env={"NOTIFY_SOCKET": str(scene.work / "notify"), "WATCHDOG_USEC": "200000"})
    check("systemd is told that it runs", wait_until, 5, systemd.was_told, "READY=1")
    check("it connects", a.agent.says_soon, "connected to Redis")
    check("and how Redis is", wait_until, 5, systemd.was_told,
          f"STATUS=Redis at 127.0.0.1:{scene.redis_port}: ok")
    for turn in "once", "and again":
        systemd.told = ""
        check(f"and that it is alive, {turn}", wait_until, 5, systemd.was_told, "WATCHDOG=1")
    for number in (signal.SIGHUP, signal.SIGPIPE):
        a.agent.process.send(number)
    wait_until(5, has_no_signal_pending, a.agent.process.pid)
    check("HUP and PIPE do not end it", alive, a.agent.process.pid)
    check("nor does a closed stderr", lambda: survives_closed_stderr(scene)
         
          and survives_broken_stderr(scene, b))
    a.make("last", 1)
    check("INT does, with 0", a.agent.ends, signal.SIGINT)
    check("systemd is told", wait_until, 5, systemd.was_told, "STOPPING=1")
    b.start_agent(tells=False)
    check("what was made just before arrives", wait_until, 10, b.resumes, "last", 1)
    check("TERM does, with 0", b.agent.ends)


def survives_closed_stderr(scene):
    """It fails for its own reason, and not by a signal."""
    command = [scene.command, "agent", "--store", scene.work / "none/x", "--once", "--redis",
               "redis://x"]
    done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, timeout=20,
                          preexec_fn=lambda: os.close(2))
    return same(1, done.returncode)


def survives_broken_stderr(scene, host):
    """Nobody reads what it writes; all the same it does its work."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [scene.command, "agent", "--store", host.store, "--once", "--redis", scene.url]
    with open(writing, "w") as broken:
        done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, timeout=20,
                              stderr=broken)
    return same(0, done.returncode)
