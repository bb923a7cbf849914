//! No two records have the same nonce, whatever copies of the process there are: fork(2), clone(2)
//! as the kernel has it, a child of a child, vfork(2), threads. A nonce is in a record's bytes 4 to 28.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use sesscache::openssl::generator::Generator;
use sesscache::openssl::libssl::libssl;
use sesscache::seal::{HEAD_BYTES, KEY_ID_BYTES, Keys, NONCE_BYTES};
use sesscache_core::system::wipe::Wiped;
use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::{ptr, thread};

type Nonce = [u8; NONCE_BYTES];

/// More than are drawn at once.
const MANY: usize = 400;
/// Fewer: the next process finds some in stock.
const FEW: usize = 3;

fn generator() -> Generator {
    Generator::new(libssl().unwrap(), ptr::null_mut())
}

fn draw(keys: &Keys, count: usize) -> Vec<Nonce> {
    let nonce = |_| {
        let mut text = Wiped::new(vec![0; HEAD_BYTES + 9]);
        keys.seal(generator(), b"", &mut text).unwrap();
        *text[KEY_ID_BYTES..].first_chunk().unwrap()
    };
    (0..count).map(nonce).collect()
}

/// The nonces that a child draws, which `start` makes: 0 in the child, its number in the parent.
fn of_child(start: impl FnOnce() -> libc::pid_t, draws: impl FnOnce() -> Vec<Nonce>) -> Vec<Nonce> {
    let mut ends: [c_int; 2] = [0; 2];
    // SAFETY: a place for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the pipe's end, which nobody else has.
    let mut from = unsafe { File::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let mut to = unsafe { File::from_raw_fd(ends[1]) };
    let child = start();
    if child == 0 {
        let written = to.write_all(draws().as_flattened());
        // SAFETY: ends the child, and nothing of the test goes on in it.
        unsafe { libc::_exit(written.is_err().into()) };
    }
    assert!(child > 0);
    drop(to);
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    let mut status = -1;
    // SAFETY: the child made above, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    bytes.as_chunks().0.to_vec()
}

fn first_halves(nonces: &[Nonce]) -> HashSet<&[u8]> {
    nonces.iter().map(|nonce| &nonce[..NONCE_BYTES / 2]).collect()
}

fn fork() -> libc::pid_t {
    // SAFETY: the child draws, writes and exits; no other thread is in OpenSSL.
    unsafe { libc::fork() }
}

/// Without the C library, which would tell OpenSSL.
fn clone() -> libc::pid_t {
    // SAFETY: a copy of the process as fork makes it. The order of the other arguments, all 0, does not
    // count.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    child.try_into().unwrap()
}

struct Drawn<'a> {
    keys: &'a Keys,
    nonces: Vec<Nonce>,
}

extern "C" fn draw_in_shared_memory(drawn: *mut c_void) -> c_int {
    // SAFETY: `Drawn` of the thread that waits in `vfork` meanwhile.
    let drawn = unsafe { &mut *drawn.cast::<Drawn<'_>>() };
    drawn.nonces = draw(drawn.keys, FEW);
    0
}

/// As vfork(2), with a stack of its own.
fn vfork(keys: &Keys) -> Vec<Nonce> {
    let mut stack = vec![0_u128; 1 << 16];
    let mut drawn = Drawn { keys, nonces: Vec::new() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end.cast();
    // SAFETY: the end of a stack of ours, and what the function takes; this thread waits.
    let child = unsafe { libc::clone(draw_in_shared_memory, top, flags, (&raw mut drawn).cast()) };
    let mut status = -1;
    // SAFETY: the child made above, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!((status, drawn.nonces.len()), (0, FEW));
    drawn.nonces
}

#[test]
fn no_copy_of_the_process_has_another_ones_nonce() {
    let loaded = [c"libssl.so.3", c"libssl.so.4"].into_iter().any(|name| {
        // SAFETY: a C string; libssl's constructors may run at any time.
        !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) }.is_null()
    });
    assert!(loaded, "the test wants OpenSSL's shared libraries on this machine");
    let keys = Keys::random(generator()).unwrap();
    let mut all = draw(&keys, FEW);
    for start in [fork, clone, fork] {
        let of_child = of_child(start, || {
            let mut nonces = draw(&keys, FEW);
            nonces.extend(of_child(start, || draw(&keys, FEW)));
            nonces.extend(draw(&keys, FEW));
            nonces
        });
        let (new, old) = (first_halves(&of_child), first_halves(&all));
        assert_eq!(new.len(), 2, "one of the child's, and one of its own child's");
        assert!(new.is_disjoint(&old), "a child has none of its parent's");
        all.extend(of_child);
        all.extend(draw(&keys, FEW));
    }
    all.extend(vfork(&keys));
    all.extend(draw(&keys, FEW));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| draw(&keys, MANY))).collect();
        all.extend(threads.into_iter().flat_map(|one| one.join().unwrap()));
    });
    all.extend(draw(&keys, FEW));
    let different: HashSet<_> = all.iter().collect();
    assert_eq!((different.len(), all.len()), (all.len(), FEW * (1 + 3 * 4 + 3) + 4 * MANY));
}
