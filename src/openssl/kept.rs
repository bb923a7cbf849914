//! A session as a cache keeps it, in one word: the SSL_SESSION, or packed bytes from which it is made
//! again.
//!
//! The lowest bit of the word tells: it is 1 for packed bytes. Both are reference counted, and neither
//! lies at an odd address. No locks.

use super::handle::{Session, SessionRef};
use super::packed::{Block, Packed};
use super::table::Libssl;
use sesscache_core::cache::Value;
use std::mem::{ManuallyDrop, forget};
use std::ptr::NonNull;

const PACKED: usize = 1;

/// A session as a cache keeps it. It owns a reference.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept(NonNull<u8>);

/// The two forms of a session that is kept.
#[derive(Debug)]
pub enum Form {
    /// The object itself.
    Live(Session),
    /// Its bytes.
    Packed(Packed),
}

// SAFETY: it stands for one of the two forms, which may both be used and dropped by any thread.
unsafe impl Send for Kept
where
    Session: Send,
    Packed: Send,
{
}
// SAFETY: as above.
unsafe impl Sync for Kept
where
    Session: Sync,
    Packed: Sync,
{
}

impl From<Session> for Kept {
    #[inline]
    fn from(session: Session) -> Kept {
        let kept = Kept(session.0.cast());
        forget(session);
        kept
    }
}

impl From<Packed> for Kept {
    fn from(packed: Packed) -> Kept {
        let block = packed.0.cast::<u8>();
        forget(packed);
        Kept(block.map_addr(|address| address | PACKED))
    }
}

impl Kept {
    /// Whether it is packed.
    #[inline]
    pub fn is_packed(&self) -> bool {
        self.0.addr().get() & PACKED != 0
    }

    /// Whether it is this very object.
    pub fn is(&self, session: &Session) -> bool {
        self.0 == session.0.cast()
    }

    /// The session, or its bytes.
    #[inline]
    pub fn into_form(self) -> Form {
        ManuallyDrop::into_inner(ManuallyDrop::new(self).form())
    }

    /// The form with the reference that this value owns.
    #[inline]
    fn form(&self) -> ManuallyDrop<Form> {
        ManuallyDrop::new(if self.is_packed() {
            let block = self.0.as_ptr().wrapping_sub(PACKED).cast::<Block>();
            // SAFETY: `From` made it of a block's address, one byte lower.
            Form::Packed(Packed(unsafe { NonNull::new_unchecked(block) }))
        } else {
            Form::Live(Session(self.0.cast()))
        })
    }

    /// When it expires: the last second in which it is good.
    pub fn deadline(&self, libssl: &'static Libssl) -> i64 {
        match &*self.form() {
            Form::Live(session) => SessionRef::deadline(session.as_ref(libssl)),
            Form::Packed(packed) => packed.deadline().into(),
        }
    }
}

impl Clone for Kept {
    #[inline]
    fn clone(&self) -> Kept {
        match &*self.form() {
            Form::Live(session) => session.clone().into(),
            Form::Packed(packed) => packed.clone().into(),
        }
    }
}

impl Drop for Kept {
    #[inline]
    fn drop(&mut self) {
        drop(ManuallyDrop::into_inner(self.form()));
    }
}

impl Value for Kept {
    fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// An SSL_SESSION is some 900 bytes, all of which SSL_SESSION_free wipes.
    fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in 0..if self.is_packed() { 2 } else { 15 } {
            let address = self.0.as_ptr().cast::<i8>().wrapping_add(line * 64);
            // SAFETY: a prefetch is a hint: it reads nothing and faults on no address.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address)
            };
        }
    }
}
