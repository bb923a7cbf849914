//! Tells systemd that the agent's event loop turns, as often as its unit's WatchdogSec= asks.

use sd_notify::NotifyState;
use std::convert::Infallible;
use std::future::pending;
use tokio::time::{MissedTickBehavior, interval};

/// Tells it twice in each time that systemd allows. Never ends, and does nothing if nobody asks.
pub(super) async fn feed() -> Infallible {
    let Some(allowed) = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero()) else {
        return pending().await;
    };
    let mut half = interval(allowed / 2);
    half.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        half.tick().await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
