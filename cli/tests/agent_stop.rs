//! An agent that is told to stop ends soon, and says how many records Redis lacks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use rustix::process::{Pid, Signal, kill_process};
use sesscache_core::store::{Locator, Now, Store, StoreUrl};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A folder with a store, and a running agent that follows it. Both end with the test.
struct Fixture {
    folder: PathBuf,
    store: Store,
    agent: Child,
    stderr: BufReader<ChildStderr>,
}

impl Fixture {
    /// Starts an agent whose Redis is a socket in the folder; waits until it follows the store.
    fn start(name: &str) -> Fixture {
        let folder = std::env::temp_dir().join(format!("sesscache-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("store");
        let url = StoreUrl::parse(&format!("file:{}?size=1MiB", path.display())).unwrap();
        let store = Store::open(&url).unwrap();
        let mut agent = Command::new(env!("CARGO_BIN_EXE_sesscache"))
            .args(["agent", "--redis"])
            .arg(format!("unix://{}", folder.join("redis").display()))
            .arg("--store")
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(agent.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("following") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "the agent ended");
        }
        Fixture { folder, store, agent, stderr }
    }

    fn put(&self, number: u8) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let millis = Now(u64::try_from(now.as_millis()).unwrap());
        self.store.put(&Locator([number; 16]), now.as_secs() + 60, millis, 0, &[7; 100]).unwrap();
    }

    /// Tells the agent to stop; the lines that it still logs.
    fn stop(&mut self) -> String {
        let start = Instant::now();
        let pid = Pid::from_child(&self.agent);
        kill_process(pid, Signal::TERM).unwrap();
        let mut lines = String::new();
        self.stderr.read_to_string(&mut lines).unwrap();
        assert!(self.agent.wait().unwrap().success());
        // It takes half a second; the rest is for a loaded machine.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        lines
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn unsent_records_are_counted_when_there_is_no_redis() {
    let mut agent = Fixture::start("unsent");
    (0..5).for_each(|number| agent.put(number));
    let lines = agent.stop();
    assert!(lines.contains("INFO stopped with records unsent, at most 5: "), "{lines}");
}

#[test]
fn unsent_records_are_counted_when_redis_hangs() {
    let mut agent = Fixture::start("hangs");
    let _silent = UnixListener::bind(agent.folder.join("redis")).unwrap();
    agent.put(0);
    // The agent connects within its first pauses; nothing depends on whether it did.
    std::thread::sleep(Duration::from_millis(300));
    let lines = agent.stop();
    assert!(lines.contains("INFO stopped with records unsent, at most 1: "), "{lines}");
}

#[test]
fn an_agent_with_nothing_to_send_says_nothing() {
    let mut agent = Fixture::start("idle");
    let lines = agent.stop();
    assert!(!lines.contains("stopped"), "{lines}");
}
