//! A session as bytes that stay in this process, and back: as its shape and what the shape does not
//! have, or shortened as in a record. They are not sealed.
//!
//! Not every session comes back as it was. The others are told here, and stay as they are. A mark comes
//! back, too. Whether anybody could tell the new object from the old is for `resting`.

use super::templates;
use crate::compact::Known;
use crate::compact::shape::{Fields, Parts};
use crate::openssl::codec::Mark;
use crate::openssl::error_queue::KeepErrors;
use crate::openssl::handle::{Session, SessionRef};
use crate::openssl::packed::{Content, Packed};
use crate::openssl::table::Libssl;
use sesscache_core::cache::{Key, MAX_ID_LENGTH};
use sesscache_core::system::wipe::Wiped;

/// The session as bytes; `None` if it would not come back as it is, or without memory.
///
/// A client's certificate stays with its chain, which has no encoding. A session for early data has an age
/// mask. A private one may be ended early by the application, with no trace in the store. OpenSSL leaves a
/// time or a timeout of 0 out of the encoding, and reads other ones there.
pub(in crate::context) fn pack(session: SessionRef<'_>) -> Option<Packed> {
    let key = session.key().filter(|key| !key.id_is_empty() && session.is_resumable())?;
    let mark = session.mark().filter(|mark| !mark.is_private && !mark.has_trailer)?;
    let deadline = u32::try_from(session.deadline()).ok()?;
    let has_times = session.time() > 0 && session.timeout() > 0;
    if session.has_peer() || session.is_for_early_data() || !has_times {
        return None;
    }
    let _errors = KeepErrors::new(session.libssl());
    let mut id = [0; MAX_ID_LENGTH];
    let known = known(&key, &mut id, mark, deadline);
    let mut bytes = Wiped::default();
    templates::append(session, &known, &mut bytes).ok()?;
    pack_short(&bytes, mark, &known).or_else(|| Packed::whole(mark.pack(), deadline, &bytes))
}

/// A session as its shape and little more; `None` if it has none.
fn pack_short(bytes: &[u8], mark: Mark, known: &Known<'_>) -> Option<Packed> {
    let parts = Parts::of(bytes, known)?;
    let Fields { time, timeout, .. } = parts.fields;
    if u64::try_from(time + timeout) != Ok(known.deadline) {
        return None;
    }
    let keeps_time = time != i64::from(mark.first_authenticated);
    Packed::short(mark.pack(), &parts, known, keeps_time)
}

/// The session of this key that was packed; `None` without memory.
pub(in crate::context) fn unpack(
    libssl: &'static Libssl,
    key: &Key,
    packed: &Packed,
) -> Option<Session> {
    let _errors = KeepErrors::new(libssl);
    let mark = Mark::unpack(packed.mark())?;
    let mut id = [0; MAX_ID_LENGTH];
    let known = known(key, &mut id, mark, packed.deadline());
    let mut short = Wiped::default();
    let bytes = match packed.content() {
        Content::Whole(bytes) => bytes,
        Content::Short { shape, secret, time } => {
            let time = time.unwrap_or(known.began).into();
            let timeout = i64::from(packed.deadline()) - time;
            short.try_reserve_exact(shape.most_bytes()).ok()?;
            shape.append(&Fields { secret, time, timeout }, &known, &mut short)?;
            &short
        }
    };
    let session = templates::decode(libssl, bytes, &known).ok()?;
    let unpacked = session.as_ref(libssl);
    (unpacked.key() == Some(*key) && unpacked.set_mark(mark)).then_some(session)
}

/// What is known of the session beside its bytes. Its server name is not.
fn known<'a>(key: &Key, id: &'a mut [u8; MAX_ID_LENGTH], mark: Mark, deadline: u32) -> Known<'a> {
    Known {
        version: key.version(),
        id: key.id(id),
        name: &[],
        began: mark.first_authenticated,
        deadline: deadline.into(),
    }
}
