//! Settings that libssl does not get, and wrappers of others (a tracer, a policy) that come after us:
//! they see the application's call, and may change it.
//!
//! The call goes on through the wrappers. What arrives in libssl is the application's setting from
//! then on, and ours is put back. Between the two a handshake of another thread may meet a context
//! without us, whose session is then not cached: programs set these before they serve. No locks.

use super::callback::FnPtr;
use super::constants::SSL_CTRL_GET_SESS_CACHE_MODE;
use super::handle::Ctx;
use libc::{c_int, c_long};
use openssl_sys::{SSL_CTRL_GET_SESS_CACHE_SIZE, SSL_CTRL_SET_SESS_CACHE_MODE};

impl Ctx<'_> {
    /// The callback that arrives in libssl when the application sets one; `None` if a wrapper keeps
    /// it for itself.
    pub fn arriving<F: FnPtr>(
        self,
        callback: Option<F>,
        set: impl Fn(Self, Option<F>),
        get: impl Fn(Self) -> Option<F>,
    ) -> Option<Option<F>> {
        let Some(wrapped) = self.wrapped() else { return Some(callback) };
        let ours = get(self);
        set(wrapped, callback);
        let arrived = get(self);
        set(self, ours);
        (F::address(arrived) != F::address(ours)).then_some(arrived)
    }

    /// The callback that the application gets when it asks for the one that it has set.
    pub fn answered<F: FnPtr>(
        self,
        callback: Option<F>,
        get: impl Fn(Self) -> Option<F>,
    ) -> Option<F> {
        let Some(wrapped) = self.wrapped() else { return callback };
        let seen = get(wrapped);
        if F::address(seen) == F::address(get(self)) { callback } else { seen }
    }

    /// The setting that arrives in libssl with a command for the cache's mode or size; `None` if a
    /// wrapper keeps it for itself.
    pub fn arriving_setting(self, cmd: c_int, larg: c_long) -> Option<c_long> {
        let Some(wrapped) = self.wrapped() else { return Some(larg) };
        let get = match cmd {
            SSL_CTRL_SET_SESS_CACHE_MODE => SSL_CTRL_GET_SESS_CACHE_MODE,
            _ => SSL_CTRL_GET_SESS_CACHE_SIZE,
        };
        let ours = self.stock_ctrl(get, 0);
        wrapped.stock_ctrl(cmd, larg);
        let arrived = self.stock_ctrl(get, 0);
        self.stock_ctrl(cmd, ours);
        (arrived != ours || larg == ours).then_some(arrived)
    }
}
