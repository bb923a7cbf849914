//! Our own functions.

use super::arguments::Argument;
use super::guard::guard;
use super::{early_data, hooks, state};
use crate::context::host::{self, HostStore};
use crate::openssl::error_queue;
use crate::openssl::handle::Ctx;
use libc::{c_char, c_int};
use openssl_sys::SSL_CTX;
use sesscache_core::store::Counters;
use sesscache_core::system::thread::HoldCancel;
use std::ffi::CStr;
use std::ptr;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"unknown",
    };

/// Returns the version of the library, such as "0.1.0".
///
/// The string is constant and must not be freed. Any thread may call it at any time. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sesscache_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Returns 1 if the session cache of `ctx` is sesscache's, 0 if it is OpenSSL's own: the context
/// was made before the library was loaded or when there was no memory, the OpenSSL is not a
/// supported one, or `ctx` is NULL.
///
/// Any thread may call it at any time. Since 0.1.
///
/// # Safety
/// `ctx` must be NULL or a valid context.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sesscache_is_active(ctx: *const SSL_CTX) -> c_int {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx.cast_mut()) };
    guard(0, || {
        let Some(ctx) = ctx.ctx() else { return 0 };
        (state(ctx).is_some() && hooks::are_registered(ctx)).into()
    })
}

/// Has `ctx` share its sessions through the host store that `url` names: "shm:", for the processes
/// that this one forks, or "file:/PATH", both with "?size=64MiB" and "&key=/PATH" as wanted; see
/// sesscache(7). For servers that prefer code to the environment variable SESSCACHE_STORE, before
/// which it goes.
///
/// Returns 1, or 0 with an entry on OpenSSL's error queue whose data (ERR_peek_last_error_all)
/// names the cause. Attaching the same URL again does nothing; another one is an error. A store
/// stays mapped until the process ends. If its file was removed, the next call makes another store,
/// and the old one goes with its last context.
///
/// Call it before the context is used for connections; other threads may use other contexts
/// meanwhile. A "shm:" store is shared with processes that are forked after the first call with its
/// URL. Since 0.1.
///
/// # Safety
/// `ctx` must be NULL or a valid context, `url` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sesscache_store_attach(
    ctx: *mut SSL_CTX,
    url: *const c_char,
) -> c_int {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx) };
    guard(0, || {
        let Some(libssl) = ctx.libssl() else { return 0 };
        // SAFETY: a C string, as above.
        let url = (!url.is_null()).then(|| unsafe { CStr::from_ptr(url) });
        match attach(ctx.ctx(), url) {
            Ok(()) => 1,
            Err(cause) => {
                error_queue::put(libssl, &format!("sesscache_store_attach: {cause}"));
                0
            }
        }
    })
}

fn attach(ctx: Option<Ctx<'_>>, url: Option<&CStr>) -> Result<(), String> {
    let ctx = ctx.ok_or("ctx is NULL")?;
    let url = url.ok_or("url is NULL")?.to_str().map_err(|_| "url is not UTF-8")?;
    let state = state(ctx).ok_or("the session cache of ctx is not sesscache's")?;
    // It opens files, at which a thread could be cancelled.
    let _cancel = HoldCancel::new();
    let store = host::attach(url).map_err(|error| error.to_string())?;
    if !state.attach(ctx, store) {
        return Err("ctx has another store already".into());
    }
    early_data::register(ctx, state);
    Ok(())
}

/// The counters of a host store, over all its processes since it was made, and how full it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct sesscache_stats {
    /// Sessions that were found and given to OpenSSL to resume.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Sessions stored, and permits for early data.
    pub stores: u64,
    /// Sessions removed.
    pub removes: u64,
    /// Sessions for single use that were taken, and permits for early data.
    pub takes: u64,
    /// Sessions that were met after their end.
    pub expired: u64,
    /// Sessions that made room before their end.
    pub evicted: u64,
    /// Lookups that met a removed session.
    pub tombstone_hits: u64,
    /// Sessions too large to be stored.
    pub oversize: u64,
    /// Sessions that did not open: another key file, another server name, or damage.
    pub undecryptable: u64,
    /// Sessions that opened and were not what was asked for.
    pub mismatched: u64,
    /// Sessions not stored because other processes changed the same few slots again and again.
    pub busy: u64,
    /// Removals that were forgotten before their time, because their bucket was full of removals.
    pub resets: u64,
    /// Sessions not shared: the context has neither a certificate nor a session id context.
    pub refused_no_identity: u64,
    /// Sessions not shared: SSL_VERIFY_PEER without a session id context.
    pub refused_verify_without_id_context: u64,
    /// Sessions not shared: the application stores none and has no callbacks.
    pub refused_not_asked: u64,
    /// Sessions in the store.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes there are for sessions.
    pub capacity: u64,
    /// Sessions not shared: a client certificate was asked for and none given.
    pub refused_no_client_certificate: u64,
    /// Sessions not shared: OpenSSL has not found the client's certificate good, or
    /// SESSCACHE_CLIENT_CERTS is `never`.
    pub refused_unverified: u64,
    /// Sessions not shared: authenticated by a pre-shared key or SRP.
    pub refused_application: u64,
    /// Sessions not resumed: made for another server name or another service.
    pub declined_name: u64,
    /// Sessions not resumed: over their lifetime by the settings of today.
    pub declined_lifetime: u64,
    /// Sessions not resumed: the connection has another session id context.
    pub declined_id_context: u64,
    /// Sessions not resumed: their cipher would not be negotiated now.
    pub declined_cipher: u64,
    /// Sessions not resumed: the client has to show a certificate, or another one.
    pub declined_client: u64,
    /// Sessions not resumed: it is not known yet to which virtual host the server name leads.
    pub declined_host: u64,
    /// Contexts whose ticket keys are the application's, although SESSCACHE_KEY_FILE has some.
    pub application_ticket_keys: u64,
    /// Contexts with OpenSSL's own session cache, because they lie in memory that other processes use.
    pub shared_memory: u64,
    /// Sessions not shared, or made elsewhere and not resumed: the program keeps data of its own with
    /// sessions (SSL_SESSION_get_ex_new_index), which cannot travel.
    pub refused_side_data: u64,
    /// Sessions that processes have packed in their own caches, or let go there because this store had
    /// them (SESSCACHE_LIVE_SESSIONS).
    pub packed: u64,
    /// Sessions that could not be packed, and stay whole.
    pub kept_live: u64,
}

// The counters are copied as they are: core's have the same fields in the same order.
const _: () = assert!(size_of::<sesscache_stats>() == size_of::<Counters>());

/// Fills `*stats` with the counters of the store that `ctx` uses: as much of it as `size`, which is
/// sizeof(struct sesscache_stats) for the program, so that later versions can add to its end.
///
/// Returns 1, or 0 if `ctx` has no store or an argument is NULL; nothing is written then. Any
/// thread may call it at any time; other processes go on counting meanwhile. Since 0.1.
///
/// # Safety
/// `ctx` must be NULL or a valid context, `stats` NULL or a place of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sesscache_store_stats(
    ctx: *const SSL_CTX,
    stats: *mut sesscache_stats,
    size: usize,
) -> c_int {
    // SAFETY: NULL or valid, as above.
    let ctx = unsafe { Argument::from_c(ctx.cast_mut()) };
    guard(0, || {
        let store = ctx.ctx().and_then(|ctx| state(ctx)?.host_store());
        let (Some(HostStore { store, .. }), false) = (store, stats.is_null()) else { return 0 };
        let ours = store.counters();
        let known = size.min(size_of::<Counters>());
        // SAFETY: a place of `size` bytes, as above, and ours is a struct of numbers.
        unsafe { ptr::copy_nonoverlapping((&raw const ours).cast::<u8>(), stats.cast(), known) };
        // SAFETY: within those bytes or at their end.
        let unknown = unsafe { stats.cast::<u8>().add(known) };
        // SAFETY: as above; what a later version knows is nothing here.
        unsafe { ptr::write_bytes(unknown, 0, size - known) };
        1
    })
}

#[cfg(test)]
mod tests {
    /// The fields of a struct of numbers, in order.
    fn fields(source: &str, name: &str) -> Vec<String> {
        let body = source.split(&format!("pub struct {name} {{")).nth(1).unwrap();
        let body = body.split("\n}").next().unwrap();
        let lines = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn the_counters_in_c_are_those_of_the_store() {
        let ours = fields(include_str!("api.rs"), "sesscache_stats");
        let core = include_str!("../../core/src/store/counters.rs");
        assert_eq!(ours, fields(core, "Counters"));
        assert!(ours.len() > 18 && ours.iter().all(|field| field.ends_with(": u64,")));
    }
}
