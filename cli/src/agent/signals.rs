//! The signals that end the agent, and those that must not.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the agent handles.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// SIGHUP and SIGPIPE. A handler that does nothing keeps them from ending the process.
    _ignored: [Signal; 2],
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _ignored: [signal(SignalKind::hangup())?, signal(SignalKind::pipe())?],
        })
    }

    /// Waits until the agent is told to stop.
    pub(crate) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
