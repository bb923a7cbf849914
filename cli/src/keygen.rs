//! `sesscache keygen`: makes key files and changes their keys.
//!
//! Key material is never shown, and is wiped from memory. A change steps the ratchets in the file on as
//! well, because it writes them anew.

use crate::arguments::Keygen;
use crate::key_change::{KeyChangeError, KeyFile, LockedFolder};
use crate::key_text::{self, DropsNext, HEADER, NoNext, key_line};
use crate::output;
use crate::ratchet::{self, Moment};
use sesscache_core::key_file::MAX_KEYS;
use sesscache_core::key_file::epoch::Epoch;
use std::fs;
use std::io;
use std::path::{Path, absolute};

/// The step that follows a change in a fleet.
const COPY: &str = "next: copy the file to all hosts and reload their servers";

/// Runs `sesscache keygen [--rotate | --next | --promote | --keep N] FILE`.
pub(crate) fn keygen(options: &Keygen) -> Result<(), KeyChangeError> {
    let file = &options.file;
    let path = absolute(file).unwrap_or_else(|_| file.clone());
    let shown = path.display();
    let moment = Moment::now(options.max_lifetime)?;
    let line = if options.rotate {
        let keys = rotate(file, moment)?;
        format!("{shown} has a new key, the first of {keys}; next: reload the servers that use it")
    } else if options.next {
        let keys = add_next(file, moment)?;
        format!("{shown} has a new key, the second of {keys}: it opens, and seals later; {COPY}")
    } else if options.promote {
        let keys = promote(file, moment)?;
        format!("{shown} has its next key as the first of {keys}: it seals; {COPY}")
    } else if let Some(keep) = options.keep {
        match drop_oldest(file, moment, keep.into())? {
            (keys, 0) => format!("{shown} is as it was: of {keys} there is none to drop"),
            (keys, dropped) => {
                format!("{shown} keeps {keys}, without the oldest {dropped}; {COPY}")
            }
        }
    } else {
        create_at(file, "", moment.epoch)?;
        format!("wrote {shown}; next: sesscache run --key-file {shown} -- SERVER")
    };
    output::print(&line).map_err(KeyChangeError::Output)
}

/// Makes a key file with one key.
pub(crate) fn create(path: &Path) -> Result<(), KeyChangeError> {
    create_at(path, "", ratchet::present())
}

/// The same, with lines of comment behind those of each key file.
pub(crate) fn create_with(path: &Path, comment: &str) -> Result<(), KeyChangeError> {
    create_at(path, comment, ratchet::present())
}

fn create_at(path: &Path, comment: &str, epoch: Epoch) -> Result<(), KeyChangeError> {
    let folder = LockedFolder::lock(path)?;
    let line = key_line(epoch, false).map_err(KeyChangeError::Random)?;
    let (text, _) = key_text::with_first(format!("{HEADER}{comment}").as_bytes(), &line);
    let new = folder.write(&text, None)?;
    // A link, unlike a rename, replaces nothing.
    let linked = fs::hard_link(new, path);
    drop(fs::remove_file(new));
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyChangeError::Exists(path.to_owned()))
        }
        Err(error) => Err(KeyChangeError::File(path.to_owned(), error)),
        Ok(()) => folder.sync(),
    }
}

/// A key file whose text is stepped on already, but not yet written. If the clock may be wrong the
/// text is as it was: a new key does not wait for that.
fn stepped_file(path: &Path, moment: Moment) -> Result<KeyFile, KeyChangeError> {
    let mut file = KeyFile::lock(path)?;
    let stepped = ratchet::stepped(&file.text, moment, false)
        .map_err(|error| KeyChangeError::Unusable(path.to_owned(), error))?;
    if let Some(days) = stepped.refused {
        output::say(&format!("{}; not stepped on", KeyChangeError::Jump(path.to_owned(), days)));
    }
    file.text = stepped.text;
    Ok(file)
}

/// Gives a key file a new first key. Returns the number of keys.
fn rotate(path: &Path, moment: Moment) -> Result<usize, KeyChangeError> {
    let file = stepped_file(path, moment)?;
    file.has_no_next()?;
    let line = key_line(moment.epoch, false).map_err(KeyChangeError::Random)?;
    let (text, dropped) = key_text::with_first(&file.text, &line);
    let keys = file.replace(&text)?;
    if dropped > 0 {
        output::say(&format!(
            "dropped the oldest of {} keys, and what only it opens: a file holds {MAX_KEYS}",
            keys + dropped
        ));
    }
    Ok(keys)
}

/// Gives a key file a new second key, marked `next`. Returns the number of keys.
fn add_next(path: &Path, moment: Moment) -> Result<usize, KeyChangeError> {
    let file = stepped_file(path, moment)?;
    file.has_no_next()?;
    if file.keys >= MAX_KEYS {
        return Err(KeyChangeError::Full(path.to_owned()));
    }
    let line = key_line(moment.epoch, true).map_err(KeyChangeError::Random)?;
    file.replace(&key_text::with_second(&file.text, &line))
}

/// Makes the marked key of a key file the first. Returns the number of keys.
fn promote(path: &Path, moment: Moment) -> Result<usize, KeyChangeError> {
    let file = stepped_file(path, moment)?;
    match key_text::promoted(&file.text) {
        Err(NoNext) => Err(KeyChangeError::NoNext(path.to_owned())),
        Ok(text) => file.replace(&text),
    }
}

/// Drops the last keys of a key file, those beyond `keep`. Returns how many stay and how many went.
fn drop_oldest(path: &Path, moment: Moment, keep: usize) -> Result<(usize, usize), KeyChangeError> {
    let file = stepped_file(path, moment)?;
    match key_text::with_only(&file.text, keep) {
        Err(DropsNext) => Err(KeyChangeError::DropsNext(path.to_owned())),
        Ok((_, 0)) => Ok((file.keys, 0)),
        Ok((text, dropped)) => Ok((file.replace(&text)?, dropped)),
    }
}
