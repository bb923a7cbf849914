//! The texts below each command's options: explanations and examples.

pub(super) const EXAMPLES: &str = "\
Examples:
  sesscache run -- nginx -g 'daemon off;'    all workers share one cache of sessions
  sesscache enable nginx                     the same for the nginx that systemd starts
  sesscache stats                            what it does: hit rate, why sessions were missed
  sesscache doctor                           why sessions of a running server do not resume
  sesscache probe example.org                what resumes there, seen from outside
Hosts that resume each other's sessions, each with the same key file:
  sesscache keygen /etc/sesscache/nginx.key
  sesscache run --key-file /etc/sesscache/nginx.key -- nginx -g 'daemon off;'
  sesscache agent --store /run/sesscache/nginx --redis redis://10.0.0.5

Exit status: 0, 1 if something failed, 2 for bad input; `run` ends as CMD does.
See sesscache(1), and sesscache(7) for the library.";

pub(super) const KEYGEN_EXAMPLES: &str = "\
Sessions in a store and tickets are encrypted. The first key of the file seals new ones. All keys of
the file open old ones, so these still resume after a change. Servers read the file again when they
are reloaded. A change replaces the file in one step; owner, mode and comments stay.
Keys are ratchets: `sesscache ratchet` steps them on every six hours.

Examples:
  sesscache keygen /etc/sesscache/nginx.key
  sesscache run --key-file /etc/sesscache/nginx.key -- nginx -g 'daemon off;'

A new key, on a single host:
  sesscache keygen --rotate /etc/sesscache/nginx.key && nginx -s reload

Many hosts all need the same file. A key must open everywhere before it seals anywhere. So after
each step, copy the file to all hosts and reload all servers:
  sesscache keygen --next /etc/sesscache/nginx.key       1. a new key, which opens only
  sesscache keygen --promote /etc/sesscache/nginx.key    2. now it seals
  sesscache keygen --keep 1 /etc/sesscache/nginx.key     3. SESSCACHE_MAX_LIFETIME (a day) later:
                                                   only this one is left";

pub(super) const RATCHET_EXAMPLES: &str = "\
Keys that `sesscache keygen` makes are ratchets: every six hours another key follows, and the one
before cannot be computed from it. Servers step on in memory. The file is stepped on here, as often:
its keys then open what is younger than the longest lifetime of a session, and nothing older.

Each host steps its own file, and needs no other for it. Files at different steps work together. A
file that misses steps works as well; it only opens more than it should.

Examples:
  sesscache ratchet /etc/sesscache/nginx.key
  sesscache ratchet --max-lifetime 7d /etc/sesscache/*.key
  systemctl enable --now sesscache-ratchet@nginx.timer     does it for /etc/sesscache/nginx.key

A clock before the file's last step changes nothing. More than 30 days at once are refused without
--force, because a wrong clock would destroy the keys.";

pub(super) const RUN_EXAMPLES: &str = "\
CMD is started unchanged, with the library preloaded. Its workers then resume each other's sessions,
also after a restart. The store is a file named after CMD, in /run/sesscache for root and in
$XDG_RUNTIME_DIR/sesscache for others. Without such a folder it is shm:, which ends with CMD.

Examples:
  sesscache run -- nginx -g 'daemon off;'
  sesscache run --store 'file:/run/sesscache/web?size=256MiB' -- haproxy -W -f haproxy.cfg
  sesscache run --store shm: -- ./server --port 8443
A server that systemd starts:
  sesscache enable nginx

A CMD that cannot be overlaid is refused with the reason: set-user-ID, static, or an OpenSSL of its
own. --force starts it all the same. Exit status 127: no such CMD; 126: it cannot be executed.";

pub(super) const ENABLE_EXAMPLES: &str = "\
SERVER is nginx, haproxy, apache, dovecot or postfix, or the name of any systemd unit. Its commands
and files stay as they are. Added are: a drop-in with variables, a key file, and for nginx, Dovecot
and Postfix the lines that hand the variables down. `sesscache disable` removes all of that.

Examples:
  sesscache enable --dry-run nginx         says what would be made
  sesscache enable nginx && systemctl daemon-reload && systemctl restart nginx
  sesscache enable --namespace web lighttpd
  sesscache enable --root /srv/image haproxy";

pub(super) const DISABLE_EXAMPLES: &str = "\
The key file goes too, if `enable` made it; copy it first if other hosts go on with it.

Examples:
  sesscache disable nginx && systemctl daemon-reload && systemctl restart nginx";

pub(super) const STATS_EXAMPLES: &str = "\
Examples:
  sesscache stats                                  all stores of this user (of root: the host's)
  sesscache stats /run/sesscache/nginx
  sesscache stats --watch /run/sesscache/nginx     live, with plots
  sesscache stats --json /run/sesscache/nginx | jq .hit_rate";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Looks at a running server and the processes that came from it, and changes nothing. Each finding
that is not ok has a line that mends it.

Examples:
  sesscache doctor                      every server of this host that has the library
  sesscache doctor nginx                the processes of that program, or the unit's
  sesscache doctor --json 4711 | jq .is_well

Exit status: 0 if nothing keeps sessions from resuming, else 1; 2 for bad input.";

pub(super) const PROBE_EXAMPLES: &str = "\
Asks a server from outside, at each address of its name. A full connection of each way is followed
by COUNT connections that offer what the one before was given, a ticket of TLS 1.3 once. One more
offers a session of this address at each other address.

Examples:
  sesscache probe example.org
  sesscache probe --json 192.0.2.1:8443 --name example.org | jq .all_resumed
  sesscache probe --way tls1.3 --count 50 example.org

Any certificate is accepted, and described. Exit status: 0 if all that was offered has resumed; 1 if
not, or if an address failed; 2 for bad input. A way that the server does not offer is its choice.";

pub(super) const AGENT_EXAMPLES: &str = "\
Each host runs an agent for each store. The agent sends the store's records and removals to Redis or
Valkey (6.2 or newer), and applies those of other hosts to the store. Records are encrypted, so this
needs no key; all hosts need the same key file. No server ever waits for the agent.

Examples:
  sesscache agent --store /run/sesscache/nginx --redis redis://10.0.0.5
  sesscache agent --store /run/sesscache/nginx --redis rediss://redis.example:6379 \\
      --user sesscache --password-file /etc/sesscache/redis --metrics 127.0.0.1:9464
  sesscache agent --store /run/sesscache/nginx --cluster --redis redis://10.0.0.5,redis://10.0.0.6
  sesscache agent --store /run/sesscache/nginx --redis redis+sentinel://10.0.0.5,10.0.0.6/main
  sesscache agent --store /run/sesscache/nginx --redis unix:///run/redis/redis.sock --once
  sesscache agent --store /run/sesscache/nginx --metrics localhost:9464    metrics of a single host

A password in the URL works, and everybody on the host can read it there.";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
`make install` and the package put these where bash, zsh and fish look for them.

Examples:
  sesscache completions bash > ~/.local/share/bash-completion/completions/sesscache
  sesscache completions fish > ~/.config/fish/completions/sesscache.fish";
