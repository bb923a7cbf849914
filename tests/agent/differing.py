"""Hosts that miss each other's sessions, because they have not the same name, key, certificate names
or namespace: each agent says which host and what, and so do stats and the doctor."""

import json

from harness import tls
from harness.run import result, run
from harness.verdicts import check, same, wait_until

SECONDS = 40  # for what takes three, on a machine that does much else
HOSTS = "sesscache:{hosts}:about"
KEY = "sessions are sealed with another key at "
FIGURE = 'replication_differing_hosts{{what="{}"}}'


def add(scene, name, *options, certificate=None, **environment):
    """A host with a session and an agent."""
    host = scene.host(name, **environment)
    if certificate:
        host.server.kill()
        host.certificate = certificate
        host.start_server()
    host.make(name, 1)
    host.start_agent("--host", name, *options)
    return host


def differing(scene):
    scene.start_redis()
    a, b = add(scene, "a"), add(scene, "b")
    check("a hears of b", wait_until, SECONDS, a.agent.shows,
          "replication_other_hosts", 1)
    key(scene, a, b)
    all_others(scene, a, b)
    scene.end_agents()


def key(scene, a, b):
    other = scene.work / "other.key"
    run(scene.command, "keygen", other)
    c = add(scene, "c", SESSCACHE_KEY_FILE=str(other))
    check("a says that c has another key, and what to do", a.agent.says_soon,
          f"WARN .*{KEY}c: copy the key file", SECONDS)
    check("so does b", b.agent.says_soon, f"{KEY}c:", SECONDS)
    check("c says it of a and b", c.agent.says_soon, f"{KEY}a, b:", SECONDS)
    check("a counts it", a.agent.shows, FIGURE.format("key"), 1)
    check("stats shows it", same, {"seen": 2, "differing": [{"host": "c", "differs": ["key"]}]},
          stats(scene, a)["hosts"])
    finding = doctor(scene, a, "hosts-key")
    check("the doctor says it", same, ("bad", KEY + "c"), (finding["grade"], finding["text"]))
    check("and the mend", lambda: "copy the key file" in finding["mend"])
    c.environment = {}
    c.server.kill()
    c.start_server()
    check("a says that it was mended", a.agent.says_soon, "no other host differs any more",
          SECONDS)
    check("a counts none", wait_until, SECONDS, a.agent.shows, FIGURE.format("key"), 0)
    check("stats shows none", same, {"seen": 2, "differing": []}, stats(scene, a)["hosts"])
    check("the doctor is content", same, "ok", doctor(scene, a, "hosts")["grade"])


def all_others(scene, a, b):
    tls.make_self_signed(scene.files, "DNS:third.test", "third")
    for name, line, host in (
            ("d", "SESSCACHE_NAMESPACE is another at", {"SESSCACHE_NAMESPACE": "other"}),
            ("e", "certificates are for other names at", {"certificate": ("third", "third_key")})):
        found = add(scene, name, **host)
        check(f"a says it of {name}", a.agent.says_soon, f"{line} {name}: ", SECONDS)
        check(f"{name} says it of a and b", found.agent.says_soon, f"{line} .*a, .*b", SECONDS)
    f = add(scene, "f", "--name", "nginx")
    line = "these sessions are exchanged under another --name at"
    check("a says that f has another name", a.agent.says_soon, f"{line} f: ", SECONDS)
    check("f says it of a and b", f.agent.says_soon, f"{line} .*a, .*b", SECONDS)
    found = {each["host"]: each["differs"] for each in stats(scene, a)["hosts"]["differing"]}
    check("stats shows all", same, {"d": ["namespace"], "e": ["certificate"], "f": ["name"]}, found)
    check("nobody said anything of b", same, [], a.agent.lines(" at .*b[,:]"))


def hostile(scene):
    """Whoever can write to Redis says that there are hosts."""
    scene.start_redis()
    a = add(scene, "a")
    entry = {"v": "1", "h": "0" * 32, "o": "z", "n": "web", "c": "0", "k": "0/1", "s": ""}
    junk = [{"o": "evil\nWARN a line"}, {"o": "x" * 99}, {"k": "0/" + "1," * 9999}, {"s": "1"},
            {"n": "a{b}"}, {"c": "9" * 99}, {"h": "evil"}, {"v": "2"}, {"v": "\0" * 100_000}]
    for change in junk:
        scene.redis("XADD", HOSTS, "*", *sum((entry | change).items(), ()))
    scene.redis("SET", "marker", "1")
    for number in range(300):
        scene.redis("XADD", HOSTS, "*",
                    *sum((entry | {"h": f"{number:032x}", "o": f"h{number}"}).items(), ()))
    check("a says it once, and not of all by name", a.agent.says_soon, f"{KEY}.* more: ",
          SECONDS)
    wait_until(SECONDS, a.agent.shows, "replication_other_hosts", 300)
    check("no junk is in its log", same, [], a.agent.lines("evil|a line|xxx|panick"))
    shown = stats(scene, a)["hosts"]
    check("stats counts all and shows a few", same, (300, 16),
          (shown["seen"], len(shown["differing"])))
    scene.redis("XADD", HOSTS, f"{2**64 - 1}-{2**64 - 1}", "v", "1")
    other = scene.work / "other.key"
    run(scene.command, "keygen", other)
    add(scene, "b", SESSCACHE_KEY_FILE=str(other))
    check("a hears of b though the stream was at its highest id", a.agent.says_soon, f"{KEY}b, h",
          SECONDS)
    scene.redis("DEL", HOSTS)
    scene.redis("SET", HOSTS, "no stream")
    check("a key of another kind is told", a.agent.says_soon, "hosts are not compared, because",
          SECONDS)
    a.make("after", 3)
    check("and all else goes on", wait_until, SECONDS, a.has_sent, 4)
    scene.end_agents()


def ahead(scene):
    """Redis's clock was ahead once, or somebody has written an id that is."""
    scene.start_redis()
    a, b = add(scene, "a"), add(scene, "b")
    check("a hears of b", wait_until, SECONDS, a.agent.shows, "replication_other_hosts", 1)
    other = scene.work / "other.key"
    run(scene.command, "keygen", other)
    scene.redis("XADD", HOSTS, f"{2**62}-0", "v", "1")
    for _ in range(520):
        scene.redis("XADD", HOSTS, "*", "v", "1")
    add(scene, "c", SESSCACHE_KEY_FILE=str(other))
    check("a hears of c behind more than it reads at once", a.agent.says_soon, f"{KEY}c: ", SECONDS)
    check("so does b", b.agent.says_soon, f"{KEY}c: ", SECONDS)
    check("the stream began anew", lambda: int(scene.redis("XLEN", HOSTS)) < 100)
    scene.redis("ACL", "SETUSER", "default", "-del")
    scene.redis("XADD", HOSTS, f"{2**62}-0", "v", "1")
    add(scene, "d", SESSCACHE_KEY_FILE=str(other))
    check("a user who may not delete it hears of d", a.agent.says_soon, f"{KEY}c, d: ", SECONDS)
    scene.redis("XADD", HOSTS, f"{2**64 - 1}-{2**64 - 1}", "v", "1")
    check("and says when there are no more ids", a.agent.says_soon, "WARN hosts are not compared: .* no more ids",
          SECONDS)
    scene.end_agents()


def stats(scene, host):
    return json.loads(run(scene.command, "stats", "--json", host.store))


def doctor(scene, host, code):
    """The doctor's finding of this code."""
    told = result(scene.command, "doctor", "--json", host.server.pid)
    findings = json.loads(told.stdout)["servers"][0]["findings"]
    found = [finding for finding in findings if finding["code"] == code]
    assert len(found) == 1, f"{code} is not once in {findings}"
    return found[0]
