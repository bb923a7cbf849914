"""The programs that carry the streams: a Redis Cluster of three nodes, over which they are spread,
while a slot moves and a node dies; and Valkey."""

from harness.network import through
from harness.redis import Redis
from harness.run import run
from harness.verdicts import at_least, check, note_skip, same, wait_until

from .host import BY_ID, TRIES
from .scene import REDIS, REDIS_ADDRESS, REDIS_URL

PORTS = (7001, 7002, 7003)
STATEFUL = BY_ID[1]


def engines(scene):
    cluster(scene)
    scene.remove_hosts("of-cluster")
    valkey(scene)


def all_come_to_b(scene, what):
    a, b = scene.hosts["a"], scene.hosts["b"]
    for kind in BY_ID:
        sessions = a.save(kind, TRIES)
        check(f"{what}, {kind}: {TRIES} sessions of a resume on b", wait_until, 10, b.resumes,
              sessions)


# --- cluster ------------------------------------------------------------------------------------

def cluster(scene):
    scene.url = f"redis://{REDIS_ADDRESS}:{PORTS[0]}"
    scene.agent_options = ("--cluster", "--streams", 6)
    nodes = make_cluster(scene)
    scene.add_hosts("a", "b")
    all_come_to_b(scene, "cluster of three")
    check("cluster: the streams are spread over nodes", at_least, 2, nodes_with_streams(nodes))
    check("cluster: a stream moves to another node", move_a_stream, nodes)
    all_come_to_b(scene, "cluster, a stream has moved")
    lose_a_node(scene, nodes)
    all_come_to_b(scene, "cluster, a node was lost and came back empty")
    print(f"Redis Cluster {nodes[0].info('redis_version')}: three nodes,"
          f" streams on {nodes_with_streams(nodes)} of them")
    scene.check_health()


def make_cluster(scene):
    nodes = [start_node(scene, port) for port in PORTS]
    run("redis-cli", "--cluster", "create", *(f"{REDIS_ADDRESS}:{port}" for port in PORTS),
        "--cluster-yes", through=through(REDIS.name))
    wait_until(10, is_whole, nodes)
    return nodes


def start_node(scene, port):
    folder = scene.work / f"node{port}"
    folder.mkdir(exist_ok=True)
    return Redis.start(folder, port, "--cluster-enabled", "yes", "--cluster-node-timeout", 1000,
                       address=REDIS_ADDRESS, namespace=REDIS.name)


def is_whole(nodes):
    return all(b"cluster_state:ok" in node("CLUSTER", "INFO") for node in nodes)


def nodes_with_streams(nodes):
    return sum(node("DBSIZE") > 0 for node in nodes)


def move_a_stream(nodes):
    """The slot of one stream goes to another node, as when a cluster is resharded."""
    source = next(node for node in nodes if node("DBSIZE") > 0)
    target = nodes[0] if source is not nodes[0] else nodes[1]
    key = source("RANDOMKEY")
    slot, new_owner = source("CLUSTER", "KEYSLOT", key), target("CLUSTER", "MYID")
    target("CLUSTER", "SETSLOT", slot, "IMPORTING", source("CLUSTER", "MYID"))
    source("CLUSTER", "SETSLOT", slot, "MIGRATING", new_owner)
    moved = source("MIGRATE", REDIS_ADDRESS, target.port, key, 0, 5000)
    for node in (target, source):
        node("CLUSTER", "SETSLOT", slot, "NODE", new_owner)
    return same((b"OK", 1), (moved, target("EXISTS", key)))


def lose_a_node(scene, nodes):
    a, b = scene.hosts["a"], scene.hosts["b"]
    nodes[2].process.kill()
    sessions = a.save(STATEFUL, TRIES)
    check("cluster, a node is down: a's sessions resume on a", a.resumes, sessions)
    nodes[2] = start_node(scene, nodes[2].port)
    wait_until(10, is_whole, nodes)
    check("cluster: what was made while a node was down resumes on b", wait_until, 20, b.resumes,
          sessions)


# --- Valkey -------------------------------------------------------------------------------------

def valkey(scene):
    if scene.prepared.valkey is None:
        note_skip("Valkey: neither Debian nor Python's packages gave a valkey-server")
        return
    scene.url, scene.agent_options = REDIS_URL, ()
    # It runs as nobody, because it needs no more than a port.
    program = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
               scene.prepared.valkey)
    scene.start_redis(*program)
    scene.add_hosts("a", "b")
    all_come_to_b(scene, "Valkey")
    scene.redis("FLUSHALL")
    all_come_to_b(scene, "Valkey, flushed")
    scene.redis.process.kill()
    scene.start_redis(*program)
    all_come_to_b(scene, "Valkey, restarted")
    print(f"Valkey {scene.redis.info('valkey_version')}: a and b")
    scene.check_health()
