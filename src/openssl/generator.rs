//! Random bytes, from the generator that libssl itself draws from.
//!
//! In a handshake that is the one of the context's own library context. So a handshake of ours needs no
//! generator that one of stock does not need: in a sandbox it may be too late to seed one. No locks
//! of ours.

use super::failed::{Failed, present, succeeded};
use super::table::Libssl;
use libc::c_void;

/// The generator of a library context. A forked child does not share its state.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    libssl: &'static Libssl,
    library_context: *mut c_void,
}

impl Generator {
    /// That of the library context that an SSL_CTX was made in; NULL is the default one.
    pub fn new(libssl: &'static Libssl, library_context: *mut c_void) -> Generator {
        Generator { libssl, library_context }
    }

    /// The functions of its libssl.
    pub fn libssl(self) -> &'static Libssl {
        self.libssl
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// The generator cannot be made, or not be seeded.
    pub fn fill(self, out: &mut [u8]) -> Result<(), Failed> {
        let (draw, place) = (present(self.libssl.RAND_bytes_ex)?, out.as_mut_ptr());
        // SAFETY: a library context that its SSL_CTX keeps the program from freeing, and that many
        // bytes to write; any strength.
        succeeded(unsafe { draw(self.library_context, place, out.len(), 0) })
    }
}
