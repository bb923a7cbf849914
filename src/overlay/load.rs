//! When the library is loaded: the configuration is copied, the host store mapped, and the order of
//! libraries checked.

use crate::config::config;
use crate::context::host;
use crate::log::{say, write_now};
use crate::openssl::library::{first_in_search, object_of};

/// Run by the dynamic linker.
#[used]
#[unsafe(link_section = ".init_array")]
static LOAD: extern "C" fn() = load;

extern "C" fn load() {
    super::guard::guard((), || {
        super::guard::silence();
        config().complaints.iter().for_each(say);
        host::load();
        check_order();
    });
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
