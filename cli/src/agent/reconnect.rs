//! Gives up a connection to Redis after a failure, and decides when the next one is made.
//!
//! The caller drops the connection itself, also one that is whole: a Redis that became a replica
//! may have a successor under its name.

use super::backoff::Backoff;
use super::failure::Failure;
use super::shared::Shared;
use tokio::time::sleep;

/// With --once, the agent ends after so many failures in a row.
const MOST_FAILURES: u32 = 3;

/// The failures in a row of one task's connections.
#[derive(Debug)]
pub(crate) struct Reconnect {
    /// The number of the task's connection.
    connection: usize,
    backoff: Backoff,
    failures: u32,
}

impl Reconnect {
    pub(crate) fn new(connection: usize) -> Reconnect {
        Reconnect { connection, backoff: Backoff::default(), failures: 0 }
    }

    /// Redis did what it was asked: the next failure is the first again.
    pub(crate) fn succeeded(&mut self) {
        self.backoff.reset();
        self.failures = 0;
    }

    /// Counts and shows the failure of a connection that the caller dropped, and waits until the
    /// next connection may be made. With --once, returns the failure if there were too many.
    pub(crate) async fn give_up_connection(
        &mut self,
        shared: &Shared,
        failure: Failure,
    ) -> Result<(), Failure> {
        shared.failed(self.connection, &failure);
        self.failures += 1;
        if shared.settings.once && self.failures >= MOST_FAILURES {
            return Err(failure);
        }
        sleep(self.backoff.pause()).await;
        Ok(())
    }
}
