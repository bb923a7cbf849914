//! Whether an nginx makes ticket keys of its own, or was given some.

use super::Keys;
use crate::nginx::Configuration;
use crate::start::Start;

/// Since this version nginx makes ticket keys in a shared zone of sessions.
const MAKES_KEYS: [u32; 3] = [1, 23, 2];
/// The setting that gives it keys.
const SETTING: &str = "ssl_session_ticket_key";

/// Where the keys of an nginx come from.
pub(super) fn keys(start: &Start) -> Keys {
    let configuration = match Configuration::of(start) {
        Ok(configuration) => configuration,
        Err(why) => return Keys::Unknown(why.to_owned()),
    };
    if configuration.version.as_slice() < MAKES_KEYS.as_slice() {
        return Keys::None;
    }
    of(&configuration)
}

/// The same of a configuration whose nginx is not asked for its version: where none are made, the
/// key file's are used anyway.
pub(super) fn of(configuration: &Configuration) -> Keys {
    match configuration.first_with(|name, _| name == SETTING) {
        Ok(Some(file)) => Keys::Given(format!("{SETTING} in {}", file.display())),
        Ok(None) => Keys::Made,
        Err(error) => Keys::Unknown(error.to_string()),
    }
}
