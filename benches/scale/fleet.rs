//! A fleet in a design: what reaches a host and Redis, which of them has too much, and how many of the
//! clients that come back resume. Clients, balancer and hosts are simulated.

/// Records an agent sends in a round, and its rounds (cli/src/agent/pace.rs).
const ROUNDS: f64 = 1000.0;
const BUSY_ROUNDS: f64 = 100.0;
const BUSY_RECORDS: f64 = 300.0;
/// Streams of a fleet: so many by default, and at most (cli/src/agent/notes.rs).
const STREAMS: u32 = 4;
pub const MOST_STREAMS: u32 = 63;
/// Bytes of a stream entry beside its records (RESP, as sent to Redis).
const ENTRY_BYTES: f64 = 190.0;
/// What a node of Redis sends on a network of 10 Gbit/s.
const NODE_BYTES: f64 = 1.16 * (1u64 << 30) as f64;

/// How long a foreign session is good for (`SESSCACHE_MAX_LIFETIME`), and a ticket. Seconds.
pub const DAY: f64 = 86_400.0;

/// Microseconds of a processor, from the figures of `make bench-agent` (docs/SCALE.md).
pub struct Costs {
    /// An agent's for an entry that it receives, and for each record in it.
    pub receive_entry: f64,
    pub receive_record: f64,
    /// Redis's for an entry that it takes, for giving it to a host, and for each record given.
    pub take_entry: f64,
    pub give_entry: f64,
    pub give_record: f64,
}

/// Hosts, and the sessions that all of them together make in a second.
#[derive(Clone, Copy)]
pub struct Fleet {
    pub hosts: u32,
    pub rate: f64,
}

/// How sessions get to the hosts at which their clients may come back.
#[derive(Clone, Copy)]
pub struct Design {
    pub name: &'static str,
    /// Hosts that share their sessions; with 0 all of them do.
    pub group: u32,
    /// Nodes of Redis that such a group may have.
    pub most_nodes: u32,
    /// The part of the returns that the balancer brings to the group of the client's session.
    pub steered: f64,
    /// Stateless tickets: any host opens them.
    pub has_tickets: bool,
}

/// What it costs, a second.
pub struct Load {
    /// Records and bytes that a host receives.
    pub records: f64,
    pub bytes: f64,
    /// The part of a processor that the agent needs to receive them.
    pub agent: f64,
    /// Nodes of Redis of all groups, and the part of a processor that the busiest needs, and its bytes.
    pub nodes: u32,
    pub redis: f64,
    pub redis_bytes: f64,
    /// Sessions that come into the store of a host.
    pub stored: f64,
    /// The part of the records that reach the other hosts.
    pub delivered: f64,
    /// The first limit that is met.
    pub limit: &'static str,
}

impl Design {
    fn group(&self, fleet: Fleet) -> u32 {
        if self.group == 0 { fleet.hosts } else { self.group.min(fleet.hosts) }
    }

    /// With so many nodes, and a stream at least on each.
    fn with_nodes(&self, fleet: Fleet, nodes: u32, record: f64, costs: &Costs) -> Load {
        let group = f64::from(self.group(fleet));
        let own = fleet.rate / f64::from(fleet.hosts);
        let streams = f64::from(nodes.max(STREAMS));
        let rounds = if own < BUSY_RECORDS { ROUNDS } else { BUSY_ROUNDS };
        // The records of a round are spread over the streams like raindrops: so many get one.
        let entries = rounds * streams * (1.0 - (-own / rounds / streams).exp());
        let bytes = own * record + entries * ENTRY_BYTES;
        let others = group - 1.0;
        let give = group * (entries * costs.give_entry + own * costs.give_record);
        let agent = others * (entries * costs.receive_entry + own * costs.receive_record) / 1e6;
        let redis = group * (entries * costs.take_entry + give) / 1e6 / f64::from(nodes);
        // Everything goes in once, and out to everybody, its own host included.
        let redis_bytes = group * bytes * group / f64::from(nodes);
        let limits = [
            (agent, "agent"),
            (redis, "Redis's processor"),
            (redis_bytes / NODE_BYTES, "Redis's network"),
        ];
        let (most, limit) =
            limits.into_iter().fold((0.0, ""), |a, b| if b.0 > a.0 { b } else { a });
        Load {
            records: own * others,
            bytes: bytes * others,
            agent,
            nodes: nodes * (fleet.hosts / self.group(fleet)),
            redis,
            redis_bytes,
            stored: own * (1.0 + others / most.max(1.0)),
            delivered: 1.0 / most.max(1.0),
            limit: if most > 1.0 { limit } else { "" },
        }
    }

    /// With as many nodes as it takes, if there may be so many.
    pub fn load(&self, fleet: Fleet, record: f64, costs: &Costs) -> Load {
        if self.has_tickets || self.group(fleet) == 1 {
            let own = fleet.rate / f64::from(fleet.hosts);
            let stored = if self.has_tickets { 0.0 } else { own };
            return Load {
                records: 0.0,
                bytes: 0.0,
                agent: 0.0,
                nodes: 0,
                redis: 0.0,
                redis_bytes: 0.0,
                stored,
                delivered: 1.0,
                limit: "",
            };
        }
        let loads = (1..=self.most_nodes).map(|nodes| self.with_nodes(fleet, nodes, record, costs));
        let mut best: Option<Load> = None;
        for load in loads {
            let is_better =
                best.as_ref().is_none_or(|best| load.delivered > best.delivered * 1.001);
            if is_better {
                best = Some(load);
            }
        }
        best.unwrap_or_else(|| self.with_nodes(fleet, 1, record, costs))
    }

    /// The part of the returns that resume, of clients that come back again and again. A host forgets a
    /// session after `remembered` seconds without use.
    pub fn resumed(&self, fleet: Fleet, load: &Load, remembered: f64) -> f64 {
        const CLIENTS: u32 = 10_000;
        const RETURNS: u32 = 10;
        let (mut random, group) = (Random(1), self.group(fleet));
        let mut resumed = 0;
        for _ in 0..CLIENTS {
            let mut home = random.below(fleet.hosts);
            for _ in 0..RETURNS {
                let begin = home / group * group;
                let host = if random.part() < self.steered {
                    begin + random.below(group.min(fleet.hosts - begin))
                } else {
                    random.below(fleet.hosts)
                };
                let is_there = self.has_tickets
                    || host == home
                    || host / group == home / group && random.part() < load.delivered;
                if is_there && random.gap() < remembered.min(DAY) {
                    resumed += 1;
                } else {
                    // A full handshake: the client has a session of this host now, and offers that one.
                    home = host;
                }
            }
        }
        f64::from(resumed) / f64::from(CLIENTS * RETURNS)
    }
}

/// The same in each run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }

    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.part() * f64::from(end)) as u32
    }

    /// Seconds until a client comes back: 10 minutes at the median, and for one of ten over 68 (lognormal).
    fn gap(&mut self) -> f64 {
        const MEDIAN: f64 = 600.0;
        const SPREAD: f64 = 1.5;
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        MEDIAN * (SPREAD * radius * (std::f64::consts::TAU * self.part()).cos()).exp()
    }
}
