//! The reasons for which the agent ends, each with its exit status.

use super::claim::ClaimError;
use super::failure::Failure;
use super::settings::AgentSettingsError;
use super::target::TargetError;
use crate::address::Address;
use std::ffi::c_int;
use std::fmt;
use std::io;

/// The reasons for which the agent ends.
#[derive(Debug)]
pub(crate) enum AgentError {
    /// The command line is wrong.
    Settings(AgentSettingsError),
    /// A file named on the command line cannot be read.
    Target(TargetError),
    /// The store cannot be followed.
    Claim(ClaimError),
    /// The address for metrics cannot be bound.
    Metrics(Address, io::Error),
    /// A thread, a signal handler or the event loop cannot be made.
    System(io::Error),
    /// With --once: Redis did not fulfil a request.
    Redis(Failure),
    /// A task ended that never should.
    Broken,
}

impl AgentError {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> c_int {
        match self {
            AgentError::Settings(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::Settings(error) => write!(f, "{error}"),
            AgentError::Target(error) => write!(f, "{error}"),
            AgentError::Claim(error) => write!(f, "{error}"),
            AgentError::Metrics(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "--metrics {address}: another program listens there; take another port")
            }
            AgentError::Metrics(address, error) => write!(f, "--metrics {address}: {error}"),
            AgentError::System(error) => write!(f, "{error}"),
            AgentError::Redis(failure) => write!(f, "Redis is {failure}"),
            AgentError::Broken => write!(f, "a part of the agent failed, see above"),
        }
    }
}
