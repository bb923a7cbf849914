//! What sealing and opening a session add to putting and getting it.

use crate::clock::{BATCH, Clock};
use crate::{SPARED_BYTES, report};
use sesscache::openssl::generator::Generator;
use sesscache::openssl::libssl::libssl;
use sesscache::seal::{HEAD_BYTES, Keys, OVERHEAD};
use sesscache_core::system::wipe::Wiped;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::hint::black_box;
use std::mem::take;
use std::ptr::null_mut;

/// Associated data of a session for a server name of usual length (context/host/record.rs).
const ASSOCIATED: [u8; 106] = [0xAD; 106];

const RTLD_NOW: c_int = 2;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
}

/// Brings libssl into the process, as a server has it: the overlay links none.
fn load_libssl() {
    let load = |name: &CStr| {
        // SAFETY: a C string; libssl's constructors may run at any time.
        !unsafe { dlopen(name.as_ptr(), RTLD_NOW) }.is_null()
    };
    assert!(load(c"libssl.so.3") || load(c"libssl.so.4"), "no libssl");
}

pub fn run(seconds: f64, lengths: Vec<usize>) {
    load_libssl();
    let libssl = libssl().unwrap();
    let generator = Generator::new(libssl, null_mut());
    let keys = Keys::random(generator).unwrap();
    let clock = Clock { seconds, has_core: true };
    for length in lengths {
        let plain = vec![0x5E; length - SPARED_BYTES];
        let seal = || {
            let mut text = Wiped::default();
            text.reserve(plain.len() + OVERHEAD).unwrap();
            text.extend_from_slice(&[0; HEAD_BYTES]);
            text.extend_from_slice(&plain);
            keys.seal(generator, &ASSOCIATED, &mut text).unwrap();
            take(&mut *text)
        };
        let sealed = seal();
        // As it is copied out of the store.
        let open = || {
            let mut record = Wiped::new(sealed.clone());
            !keys.open(libssl, &ASSOCIATED, &mut record).unwrap().is_empty()
        };
        let batch = || [(); BATCH];
        let sums = [
            ("store_seal", clock.run(batch, |()| (!black_box(seal()).is_empty()).into())),
            ("store_open", clock.run(batch, |()| black_box(open()).into())),
        ];
        for (name, sum) in sums {
            report(name, &format!("der={length}"), (sum.each(), "ns"), &sum);
        }
    }
}
