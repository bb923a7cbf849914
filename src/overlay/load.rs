//! When the library is loaded: the configuration is copied, the host store mapped, and the order of
//! libraries checked.

use crate::config::config;
use crate::context::host;
use crate::log::{say, write_now};
use crate::openssl::library::{after_us, first_in_search, object_of};
use libc::c_void;
use sesscache_core::system::thread::HoldCancel;
use std::ptr::NonNull;

/// Run by the dynamic linker.
#[used]
#[unsafe(link_section = ".init_array")]
static LOAD: extern "C" fn() = load;

extern "C" fn load() {
    super::guard::guard((), || {
        let _cancel = HoldCancel::new();
        super::guard::silence();
        if stands_aside() {
            return;
        }
        config().complaints.iter().for_each(say);
        host::load();
        check_order();
    });
}

/// Whether another copy of this library comes before this one, whose functions then do the work: a
/// unit preloads one, and the program is linked with another. The first says so.
fn stands_aside() -> bool {
    let place = |address: usize| Some(object_of(address)?.1);
    let ours = place(load as *const () as usize);
    let other = |copy: Option<NonNull<c_void>>| {
        place(copy?.as_ptr() as usize).filter(|other| Some(*other) != ours)
    };
    if other(first_in_search(c"sesscache_version")).is_some() {
        return true;
    }
    if let Some((other, ours)) = other(after_us(c"sesscache_version")).zip(ours) {
        say(format_args!(
            "this program has two copies of this library: {} works, and {} stands aside",
            ours.to_string_lossy(),
            other.to_string_lossy()
        ));
    }
    false
}

/// Says so when libssl's functions come before ours: then nothing of ours is ever called.
fn check_order() {
    let Some(first) = first_in_search(c"SSL_CTX_new") else { return };
    let ours = object_of(load as *const () as usize);
    let Some((base, path)) = object_of(first.as_ptr() as usize) else { return };
    let is_ours = ours.is_some_and(|(ours, _)| ours == base);
    // A program with OpenSSL inside comes first too; that is not a mistake of order.
    if !is_ours && path.to_string_lossy().contains("/libssl.so") {
        write_now(
            "libssl comes before libsesscache in this program, so OpenSSL's own session cache \
             is in use: put -lsesscache before -lssl when linking, or preload libsesscache.so",
        );
    }
}
