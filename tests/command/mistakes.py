"""Mistakes that people make with commands and settings. Each gets one line, which names it and its
mend. A command ends with 1 or 2. A server starts all the same, shares nothing, and says so."""

import re
import shutil
import socket

from harness import processes
from harness.run import run
from harness.verdicts import check, same, wait_until

# The words of a command, its status, a pattern of its line. Braces: a path or a port of the scene.
RUN = "run --store file:{w}/store --key-file {w}/key"
SHM = "run --store shm: --key-file"
AGENT = "agent --store {w}/none --redis"
COMMANDS = (
    ("", 2, "which command: keygen, .*see --help."),
    ("stat", 2, "unrecognized subcommand 'stat' .*see --help."),
    ("keygen", 2, ".*not provided: <FILE> .*see --help."),
    ("keygen {w}/key", 1, ".*key exists and is not overwritten; --rotate or --next .*"),
    ("keygen {w}/none/key", 1, ".*/none: No such .*; make it: install -d .*/none"),
    ("keygen --promote {w}/key", 1, ".*no key that is marked `next`; --next adds one"),
    ("keygen --keep 0 {w}/key", 2, ".*0 is not in 1..=255 .*"),
    ("keygen --rotate {w}/none", 1, ".*does not exist; without an option, keygen makes it"),
    ("ratchet {w}/text", 1, ".*line 1 is not a key of 64 hex digits"),
    ("ratchet --max-lifetime soon {w}/key", 2, ".*a time like 90s, .*"),
    ("run", 2, ".*not provided: <CMD>.*"),
    ("run --sotre x -- openssl", 2, "unexpected argument '--sotre' .*see --help."),
    ("run --store redis://a -- openssl", 2, "a store is shm: or file:/PATH, as in .*"),
    ("run --store file:run/x -- openssl", 2, "file: needs a path that starts with /"),
    ("run --store file:{w}/s?size=10XB -- openssl", 2, "'10XB' is not a size: .* GiB .*"),
    ("run --store file:{w}/s?sized=1MiB -- openssl", 2, "'sized' is not a parameter .*: size=.*"),
    ("run --store file:{w}/wide/s --key-file {w}/key -- openssl", 1,
     ".*others may write to its folder; use one .*"),
    ("run --store file:{w}/link --key-file {w}/key -- openssl", 1, ".*symbolic link; name the .*"),
    ("run --store file:{w}/text --key-file {w}/key -- openssl", 1,
     ".*not a store of sesscache; name another path"),
    (SHM + " {w}/none -- openssl", 1, ".*does not exist; make it with `sesscache keygen`"),
    (SHM + " {w}/open -- openssl", 1, ".*open to other users .*; chmod 600.*"),
    (SHM + " {w}/empty -- openssl", 1, ".*holds no key; make one .*"),
    (SHM + " {w}/text -- openssl", 1, ".*line 1 is not a key of 64 hex digits"),
    (SHM + " {w}/folder -- openssl", 1, ".*is not a regular file; name one"),
    (RUN + " --new-cb-zero maybe -- openssl", 2, ".*possible values: remove, keep.*"),
    (RUN + " --library {w}/text -- openssl", 1, ".*the loader does not take .*; see --library .*"),
    (RUN + " -- {w}/vsftpd", 1, ".*must not share sessions: .*--force.*"),
    ("stats {w}/none", 1, ".*/none: it does not exist; its server makes it when it starts"),
    ("stats {w}/text", 1, ".*not a store of sesscache; name another path"),
    ("stats shm:", 2, "a shm: store is seen only by its server"),
    ("doctor nobody", 1, "nobody: no such process, program or unit .*: sesscache run -- nobody"),
    ("probe 127.0.0.1:99999", 2, ".*a name or address, as example.org, .*"),
    ("probe --way tls1.1 a", 2, ".*: tls1.2-id, tls1.2-ticket or tls1.3 .*"),
    ("probe --count 0 a", 2, ".*0 is not in 1..=1000 .*"),
    ("agent --store {w}/none", 2, ".*not provided: <--redis <URL>.--metrics <ADDRESS:PORT>> .*"),
    ("agent --store {w}/none --metrics 9464", 2, ".*an ADDRESS:PORT like 127.0.0.1:9464, .*"),
    ("agent --store {w}/none --metrics 127.0.0.1:{port}", 1,
     "--metrics .*: another program listens there; take another port"),
    ("agent --store shm: --redis redis://a", 2, ".*; the agent needs a file: store"),
    (AGENT + " http://a", 2, "--redis takes redis://HOST:PORT, .*"),
    (AGENT + " redis://a,redis://b", 2, "several --redis need --cluster"),
    (AGENT + " redis://a --tls-ca {w}/text", 2, "--tls-ca, .* are for rediss: URLs"),
    (AGENT + " redis://a --user u", 2, "a user needs a password, in --password-file or the .*"),
    (AGENT + " redis://a --password-file {w}/none", 1, ".*/none, which an option names: No .*"),
    (AGENT + " redis://a --name a{{b}}", 2, "--name .*: letters, digits and -._ only, .*"),
    (AGENT + " redis://a --retention 5s", 2, "--retention 5s: a time like .*, at least 10s"),
    (AGENT + " redis://a --streams 64", 2, ".*64 is not in 1..=63 .*"),
    (AGENT + " redis://a --once", 1, ".*/none: it does not exist; its server makes it .*"),
    ("enable --root {w}/folder nosuchunit", 1, "there is no nosuchunit.service; is .*"),
    ("enable --root {w}/folder vsftpd", 1, "vsftpd must not share sessions: .*"),
)

OFF = "no session is shared: "
UNUSED = "; no store is used"
# What the environment says of a server beside the key file, and a pattern of its line.
SERVERS = (
    ({"STORE": "redis://a"}, "SESSCACHE_STORE=redis://a: a store is shm: or .*" + UNUSED),
    ({"STORE": "file:x"}, ".*needs a path that starts with /" + UNUSED),
    ({"STORE": "file:{w}/s?size=10XB"}, ".*'10XB' is not a size: .*" + UNUSED),
    ({"STORE": "file:{w}/s?sized=1MiB"}, ".*'sized' is not a parameter .*" + UNUSED),
    ({"STORE": "file:{w}/wide/s"}, OFF + ".*others may write to its folder; use one .*"),
    ({"STORE": "file:{w}/link"}, OFF + ".*symbolic link; name the file itself"),
    ({"STORE": "file:{w}/text"}, OFF + ".*not a store of sesscache; name another path"),
    ({"STORE": "file:{w}/folder"}, OFF + ".*not a regular file; name another path"),
    ({"STORE": "file:{w}/s", "KEY_FILE": ""}, OFF + ".*needs SESSCACHE_KEY_FILE .*keygen FILE.*"),
    ({"STORE": "file:{w}/s", "KEY_FILE": "{w}/none"}, OFF + ".*does not exist; make it with .*"),
    ({"STORE": "file:{w}/s", "KEY_FILE": "{w}/open"}, OFF + ".*open to other users .*chmod 600.*"),
    ({"STORE": "file:{w}/s", "KEY_FILE": "{w}/empty"}, OFF + ".*holds no key; make one .*"),
    ({"STORE": "file:{w}/s", "KEY_FILE": "{w}/text"}, OFF + ".*line 1 is not a key of .*"),
    ({"STORE": "file:{w}/s", "KEY_FILE": "key"}, OFF + ".*=key is not a path from /"),
    ({"TICKETS": "maybe"}, ".*TICKETS=maybe is none of shared, .*; taken as application"),
    ({"TICKETS": "shared", "KEY_FILE": ""}, ".*TICKETS=shared needs SESSCACHE_KEY_FILE"),
    ({"MAX_LIFETIME": "1d"}, ".*MAX_LIFETIME=1d is not a number of seconds; taken as 86400"),
    ({"CLIENT_CERTS": "x"}, ".*CLIENT_CERTS=x is none of verify, share and never; taken as never"),
)


def make_files(scene):
    """The places that mistakes name."""
    w = scene.work
    run(scene.prepared.command, "keygen", w / "key")
    for name, text, mode in (("empty", "", 0o600), ("text", "hello\n", 0o600),
                             ("open", "0" * 64 + "\n", 0o644)):
        (w / name).write_text(text)
        (w / name).chmod(mode)
    for name, mode in (("folder", 0o700), ("wide", 0o777)):
        (w / name).mkdir()
        (w / name).chmod(mode)
    (w / "link").symlink_to(w / "text")
    shutil.copy(shutil.which("openssl"), w / "vsftpd")


def mistakes_of_commands(scene):
    make_files(scene)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        places = {"w": scene.work, "port": taken.getsockname()[1]}
        for words, status, line in COMMANDS:
            check(words or "no word", is_told, scene, words.format(**places).split(), status, line)
    check("these are enough", lambda: len(COMMANDS) + len(SERVERS) >= 40)


def is_told(scene, words, status, line):
    ended, _, said = scene.asks(*words)
    assert ended == status, f"it ended with {ended}, not {status}: {said}"
    assert re.fullmatch(f"sesscache: {line}\n", said), f"expected: {line}\nsaid:     {said}"
    return same(None, re.search("os error", said))


def mistakes_of_servers(scene):
    """All are started at once."""
    make_files(scene)
    servers = [start(scene, number, settings) for number, (settings, _) in enumerate(SERVERS)]
    for (settings, line), (server, log) in zip(SERVERS, servers):
        check(f"{settings}", wait_until, 20, log_says, log, line)
        check("the server runs all the same", server.alive)
        server.kill()


def start(scene, number, settings):
    log = scene.work / f"sesscache-{number}.log"
    told = {"KEY_FILE": "{w}/key", **settings}
    told = {f"SESSCACHE_{name}": value.format(w=scene.work) for name, value in told.items()}
    return processes.start(
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", scene.files / "certificate.pem",
        "-key", scene.files / "key.pem", "-quiet", "-www", log=scene.work / f"server-{number}.log",
        env={"LD_PRELOAD": str(scene.prepared.library), "SESSCACHE_LOG": str(log), **told}), log


def log_says(log, line):
    found = log.read_text() if log.exists() else ""
    assert re.search(f"(?m)^sesscache\\[\\d+\\]: {line}$", found), f"{line}\nis not in: {found}"
    return True
