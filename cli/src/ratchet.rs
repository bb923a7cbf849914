//! `sesscache ratchet`: steps key files on, so that they open nothing that is over.
//!
//! The state of each ratchet in a file becomes that of the oldest epoch from which something may
//! still live. The library does the same in memory, with the HKDF of libcrypto.

use crate::arguments::Ratchet;
use crate::key_change::{KeyChangeError, KeyFile};
use crate::key_text::{self, Text, day};
use crate::output;
use hkdf::Hkdf;
use sesscache_core::key_file::epoch::{
    EPOCH_SECONDS, EPOCHS_A_DAY, Epoch, LONGEST_JUMP, STEP_INFO, step,
};
use sesscache_core::key_file::{FileKey, KEY_BYTES, KeyFileError};
use sha2::Sha256;
use std::env;
use std::path::{Path, absolute};
use std::time::{SystemTime, UNIX_EPOCH};

/// A day, as in the library.
const MAX_LIFETIME: u32 = 24 * 60 * 60;

/// The present, and how far back keys must open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) epoch: Epoch,
    kept: u32,
}

impl Moment {
    /// By the clock and by an option, or else SESSCACHE_MAX_LIFETIME.
    pub(crate) fn now(max_lifetime: Option<u32>) -> Result<Moment, KeyChangeError> {
        let lifetime = match (max_lifetime, env::var_os("SESSCACHE_MAX_LIFETIME")) {
            (Some(seconds), _) => seconds,
            (None, Some(text)) if !text.is_empty() => {
                let text = text.to_string_lossy();
                text.parse().map_err(|_| KeyChangeError::Lifetime(text.into_owned()))?
            }
            _ => MAX_LIFETIME,
        };
        Ok(Moment { epoch: present(), kept: Epoch::kept_for(lifetime) })
    }

    /// The oldest epoch whose key is needed.
    fn oldest(self) -> Epoch {
        self.epoch.before(self.kept)
    }
}

/// The epoch of the clock.
pub(crate) fn present() -> Epoch {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Epoch::at(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

/// The text of a key file after its steps, and what was found.
pub(crate) struct Stepped {
    pub(crate) text: Text,
    /// The most steps that a key made.
    pub(crate) steps: u32,
    /// The earliest epoch of a ratchet; `None` if all keys are plain.
    oldest: Option<Epoch>,
    plain: usize,
    /// The days of the longest jump that was not made, because the clock may be wrong.
    pub(crate) refused: Option<u32>,
}

/// Steps the ratchets in the text of a key file on to the oldest epoch that is needed.
pub(crate) fn stepped(old: &[u8], moment: Moment, force: bool) -> Result<Stepped, KeyFileError> {
    let (mut steps, mut plain, mut refused) = (0, 0, None);
    let mut oldest: Option<Epoch> = None;
    let text = key_text::with_states(old, |key| {
        let Some(epoch) = key.epoch else {
            plain += 1;
            return;
        };
        let behind = moment.oldest().since(epoch);
        if behind > LONGEST_JUMP && !force {
            refused = refused.max(Some(behind / EPOCHS_A_DAY));
        } else {
            advance(key, epoch, behind);
            steps = steps.max(behind);
        }
        oldest = oldest.into_iter().chain(key.epoch).min();
    })?;
    Ok(Stepped { text, steps, oldest, plain, refused })
}

fn advance(key: &mut FileKey, epoch: Epoch, steps: u32) {
    let hkdf = |state: &[u8; KEY_BYTES], next: &mut [u8; KEY_BYTES]| {
        Hkdf::<Sha256>::new(None, state).expand(STEP_INFO, next)
    };
    // HKDF refuses only a longer output than this. The epoch tells that nothing was changed.
    if step(&mut key.secret, steps, hkdf).is_ok() {
        key.epoch = Some(epoch.after(steps));
    }
}

/// Runs `sesscache ratchet [--max-lifetime TIME] [--force] FILE...`.
pub(crate) fn ratchet(options: &Ratchet) -> Result<(), KeyChangeError> {
    let moment = Moment::now(options.max_lifetime)?;
    let mut last = None;
    for path in &options.files {
        match step_file(path, moment, options.force) {
            Ok(line) => output::print(&line).map_err(KeyChangeError::Output)?,
            Err(error) => {
                if let Some(before) = last.replace(error) {
                    output::say(&before.to_string());
                }
            }
        }
    }
    last.map_or(Ok(()), Err)
}

/// Steps a file on, if there is anything to step. Returns a line about it.
pub(crate) fn step_file(
    path: &Path,
    moment: Moment,
    force: bool,
) -> Result<String, KeyChangeError> {
    let file = KeyFile::lock(path)?;
    let unusable = |error| KeyChangeError::Unusable(path.to_owned(), error);
    let stepped = stepped(&file.text, moment, force).map_err(unusable)?;
    if let Some(days) = stepped.refused {
        return Err(KeyChangeError::Jump(path.to_owned(), days));
    }
    if stepped.steps > 0 {
        file.replace(&stepped.text)?;
    }
    Ok(line(&absolute(path).unwrap_or_else(|_| path.to_owned()), moment, &stepped))
}

fn line(path: &Path, moment: Moment, found: &Stepped) -> String {
    let path = path.display();
    let Some(oldest) = found.oldest else {
        return format!(
            "{path} has plain keys only, which open all that they ever sealed; `sesscache keygen \
             --next` adds a ratchet"
        );
    };
    let mut line = match found.steps {
        0 => format!("{path} is as it was"),
        1 => format!("{path} was stepped on by six hours"),
        steps => format!("{path} was stepped on by {steps} times six hours"),
    };
    if found.plain > 0 {
        let plain = found.plain;
        line += &format!("; {plain} of its keys are plain and open all that they ever sealed");
    } else {
        line += &format!("; it opens nothing from before {} UTC", time(oldest));
    }
    if oldest > moment.epoch {
        line += ", which is to come: is the clock right?";
    }
    line
}

/// The day and hour in which an epoch begins.
fn time(epoch: Epoch) -> String {
    let seconds = u64::from(epoch.0) * u64::from(EPOCH_SECONDS);
    format!("{} {:02}:00", day(seconds), seconds / 3600 % 24)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sesscache_core::key_file::parse;

    fn at(epoch: u32) -> Moment {
        Moment { epoch: Epoch(epoch), kept: 4 }
    }

    fn line_of(epoch: u32, byte: u8) -> String {
        format!("{epoch}:{}", format!("{byte:02x}").repeat(KEY_BYTES))
    }

    fn text_of(old: &str, moment: Moment) -> String {
        let stepped = stepped(old.as_bytes(), moment, false).unwrap();
        String::from_utf8(stepped.text.to_vec()).unwrap()
    }

    /// Made by Python's hmac. src/seal/ratchet.rs has the same vector, by libcrypto.
    #[test]
    fn the_chain_is_that_of_the_library() {
        let state: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let expected = "73d33d4985a2bb962affd58c0ebc26552739deb3cd31278e8fd63b1d124c5372";
        assert_eq!(text_of(&format!("10:{state}"), at(16)), format!("12:{expected}"));
    }

    #[test]
    fn many_small_steps_are_a_long_one() {
        let start = line_of(1000, 1);
        let long = text_of(&start, at(1100));
        let small = (1000..=1100).fold(start, |text, epoch| text_of(&text, at(epoch)));
        assert_eq!(small, long);
        assert!(small.starts_with("1096:"));
    }

    #[test]
    fn what_is_around_a_key_stays() {
        let (a, b) = (line_of(9998, 1), line_of(20_000, 2));
        let plain = "ab".repeat(KEY_BYTES);
        let old = format!("# mine\r\n\r\n {a} day next\r\n{plain} 2026-11-25\n\t{b}\n{a}");
        let new = text_of(&old, at(10_004));
        let keys = parse(new.as_bytes()).unwrap();
        let epochs: Vec<_> = keys.iter().map(|key| key.epoch.map(|epoch| epoch.0)).collect();
        assert_eq!(epochs, [Some(10_000), None, Some(20_000), Some(10_000)]);
        let word = new.lines().last().unwrap();
        let expected =
            format!("# mine\r\n\r\n{word} day next\r\n{plain} 2026-11-25\n\t{b}\n{word}");
        assert_eq!(new, expected);
        assert_eq!(text_of(&new, at(10_004)), new);
    }

    #[test]
    fn sixteen_keys_fit_their_room_when_their_numbers_grow() {
        let old = format!("{}\n", line_of(9, 1)).repeat(16).trim_end().to_owned();
        let stepped = stepped(old.as_bytes(), at(1014), true).unwrap();
        assert_eq!(stepped.text.len(), old.len() + 16 * 3);
        assert_eq!(
            stepped.text.capacity(),
            key_text::with_states(old.as_bytes(), |_| ()).unwrap().capacity()
        );
    }

    #[test]
    fn a_clock_that_is_behind_or_far_ahead_changes_nothing() {
        let old = line_of(1000, 1);
        for clock in [0, 999, 1000, 1004] {
            assert_eq!(text_of(&old, at(clock)), old, "{clock}");
        }
        let far = at(1005 + LONGEST_JUMP);
        assert_eq!(stepped(old.as_bytes(), far, false).unwrap().refused, Some(30));
        assert_eq!(text_of(&old, far), old);
        let forced = stepped(old.as_bytes(), far, true).unwrap();
        assert_eq!((forced.steps, forced.refused), (LONGEST_JUMP + 1, None));
        let near = stepped(old.as_bytes(), at(1004 + LONGEST_JUMP), false).unwrap();
        assert_eq!((near.steps, near.refused), (LONGEST_JUMP, None));
    }

    #[test]
    fn the_line_says_what_is_open() {
        let says = |old: &str, clock| {
            let moment = at(clock);
            line(Path::new("/k"), moment, &stepped(old.as_bytes(), moment, false).unwrap())
        };
        let (ratchet, plain) = (line_of(83_142, 1), "ab".repeat(KEY_BYTES));
        let both = format!("{ratchet}\n{plain}");
        assert_eq!(
            says(&ratchet, 83_147),
            "/k was stepped on by six hours; it opens nothing from before 2026-11-28 \
             18:00 UTC"
        );
        assert!(says(&ratchet, 83_146).starts_with("/k is as it was; it opens nothing from"));
        assert!(says(&ratchet, 5).ends_with("12:00 UTC, which is to come: is the clock right?"));
        assert!(
            says(&both, 83_147)
                .ends_with("; 1 of its keys are plain and open all that they ever sealed")
        );
        assert!(says(&plain, 83_147).starts_with("/k has plain keys only"));
    }
}
