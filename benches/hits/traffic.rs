//! Who connects, and when: clients that come back, and strangers.
//!
//! docs/PERFORMANCE.md describes each traffic, so that others can repeat it.

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// In seconds.
    pub(crate) time: f64,
    pub(crate) client: u64,
    /// Whether its resumption counts: that of a scanner does not.
    pub(crate) counts: bool,
}

/// A traffic.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) name: String,
    pub(crate) connections: Vec<Connection>,
    /// Count those alone who come back after ten minutes or more.
    pub(crate) returns_only: bool,
    /// Seconds in which a session is good.
    pub(crate) lifetime: f64,
}

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Numbers of clients that never return.
const STRANGERS: u64 = 1 << 40;
const SCANNERS: u64 = 1 << 50;
const CLIENTS: usize = 30_000;
const DAY: f64 = 86_400.0;
/// Connections of scanners for each other one, a third of them by new scanners.
const SCANS: usize = 10;

/// The traffics that are compared, of about so many connections.
pub(crate) fn all(count: usize) -> impl Iterator<Item = Traffic> {
    let shares = [0.5, 0.8];
    let usual = move |once| [0.8, 0.9, 1.0].map(|power| zipf(count, power, once));
    let changing = move |once| {
        let others = [200.0, 1_000.0].map(|seconds| replaced(zipf(count, 0.9, once), seconds));
        others.into_iter().chain([short(zipf(count, 0.9, once), 300.0)])
    };
    let visits = |clients| [false, true].map(|returns_only| web(clients, 0.5, returns_only));
    shares
        .into_iter()
        .flat_map(usual)
        .chain([scanned(zipf(count / 4, 0.9, 0.5))])
        .chain(shares.into_iter().flat_map(changing))
        .chain([1_500, 6_000].into_iter().flat_map(visits))
}

/// `CLIENTS` regular clients whose popularity falls with the power `exponent` of their rank, and `count`
/// connections. Of these a share `once` is by clients who never return.
pub(crate) fn zipf(count: usize, exponent: f64, once: f64) -> Traffic {
    let mut random = Random(7);
    let mut sum = 0.0;
    let up_to: Vec<f64> = (1..=CLIENTS)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    let mut strangers = STRANGERS;
    let connections = (0..count).map(|number| {
        let client = if random.share() < once {
            strangers += 1;
            strangers
        } else {
            let place = random.share() * sum;
            up_to.partition_point(|&bound| bound < place) as u64
        };
        Connection { time: number as f64 / 50.0, client, counts: true }
    });
    let connections = connections.collect();
    let name = format!("Zipf {exponent:.1}, {:.0} % once", once * 100.0);
    Traffic { name, connections, returns_only: false, lifetime: DAY }
}

/// The traffic with scanners between. Each connects, and offers its session twice.
fn scanned(mut traffic: Traffic) -> Traffic {
    let mut scanners = SCANNERS;
    let scans = |connection: Connection| {
        let scans: [Connection; SCANS] = std::array::from_fn(|scan| {
            scanners += 1;
            let time = connection.time + scan as f64 / 1000.0;
            Connection { time, client: scanners / 3, counts: false }
        });
        [connection].into_iter().chain(scans)
    };
    traffic.connections = traffic.connections.into_iter().flat_map(scans).collect();
    traffic.name += ", scanned";
    traffic
}

/// The traffic with other regular clients every so many seconds.
fn replaced(mut traffic: Traffic, seconds: f64) -> Traffic {
    for connection in traffic.connections.iter_mut().filter(|c| c.client < STRANGERS) {
        connection.client += (connection.time / seconds) as u64 * CLIENTS as u64;
    }
    traffic.name += &format!(", others every {seconds} s");
    traffic
}

/// The traffic with sessions that are good for so many seconds.
fn short(traffic: Traffic, seconds: f64) -> Traffic {
    let name = format!("{}, good for {seconds} s", traffic.name);
    Traffic { name, lifetime: seconds, ..traffic }
}

/// Visits of 2 to 8 connections within a minute, for twelve hours. `clients` come back ten minutes
/// after a visit and, on average, 110 more. A share of the visits is by strangers.
pub(crate) fn web(clients: u64, strangers: f64, returns_only: bool) -> Traffic {
    const HOURS: f64 = 12.0;
    let mut random = Random(7);
    let mut connections = Vec::new();
    let mut visit = |random: &mut Random, start: f64, client: u64| {
        for _ in 0..2 + random.next() % 7 {
            let time = start + random.share() * 60.0;
            connections.push(Connection { time, client, counts: true });
        }
    };
    let mut visits = 0.0;
    for client in 0..clients {
        let mut time = random.share() * 7200.0;
        while time < HOURS * 3600.0 {
            visit(&mut random, time, client);
            visits += 1.0;
            time += 600.0 - random.share().max(1e-12).ln() * 6600.0;
        }
    }
    let mut stranger = STRANGERS;
    let mut left = visits * strangers / (1.0 - strangers);
    while left >= 1.0 {
        let start = random.share() * HOURS * 3600.0;
        visit(&mut random, start, stranger);
        stranger += 1;
        left -= 1.0;
    }
    connections.sort_by(|a, b| a.time.total_cmp(&b.time));
    let whose = if returns_only { "those who return" } else { "all" };
    let name = format!("web, {clients} clients, {:.0} % strangers, {whose}", strangers * 100.0);
    Traffic { name, connections, returns_only, lifetime: DAY }
}
