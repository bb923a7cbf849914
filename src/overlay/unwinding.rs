//! Catches our own panics, and lets everything else that unwinds the stack pass.
//!
//! `std::panic::catch_unwind` also stops the unwinding by which glibc ends a thread
//! (pthread_cancel(3), pthread_exit(3)), and a C++ exception. Then the process is aborted. So a frame
//! of ours stands in its place. Its personality routine takes Rust's panics alone, and std is given
//! each of them to end. The frames of Rust between such a frame and the application's callback run
//! their destructors for such an unwinding as for a panic, if the callback's type allows it:
//! `extern "C-unwind"` (rustc's personality, library/std/src/sys/personality/gcc.rs). The tests
//! cancel.c and exceptions.sh depend on that.
//!
//! No locks, no state. On another machine than x86-64 and arm64 it is std's, and callbacks hold
//! cancellation back.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; `None` if it panics.
#[inline]
pub(super) fn catch_panic<T>(body: impl FnOnce() -> T) -> Option<T> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        frame::catch_panic(body)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        end_panic(body)
    }
}

/// As [`catch_panic`], by std. Whatever a panic leaves half done is a cache that its context stops
/// using.
fn end_panic<T>(body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// The frame, and what the unwinder (Itanium C++ ABI, Exception Handling) wants to know of it.
///
/// cbindgen:ignore
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod frame {
    use super::end_panic;
    use libc::{c_int, c_void};
    use std::arch::global_asm;

    // Calls its first argument with its second. Returns NULL, or the exception that was caught: then
    // the unwinder goes on at `sesscache_caught`, with the exception in the register of results.
    // The personality routine is DW_EH_PE_pcrel | DW_EH_PE_sdata4.
    macro_rules! sesscache_call {
        ($($instruction:literal,)*) => {
            global_asm!(
                ".pushsection .text.sesscache_call, \"ax\", @progbits",
                ".p2align 2",
                ".hidden sesscache_call",
                ".globl sesscache_call",
                ".type sesscache_call, @function",
                ".hidden sesscache_caught",
                ".globl sesscache_caught",
                "sesscache_call:",
                ".cfi_startproc",
                ".cfi_personality 0x1b, {personality}",
                $($instruction,)*
                "ret",
                ".cfi_endproc",
                ".size sesscache_call, . - sesscache_call",
                ".popsection",
                personality = sym personality,
            );
        };
    }

    #[cfg(target_arch = "x86_64")]
    sesscache_call!(
        "endbr64",
        "sub rsp, 8",
        ".cfi_def_cfa_offset 16",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "xor eax, eax",
        "sesscache_caught:",
        "endbr64",
        "add rsp, 8",
        ".cfi_def_cfa_offset 8",
    );
    #[cfg(target_arch = "aarch64")]
    sesscache_call!(
        "bti c",
        "stp x29, x30, [sp, -16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        "mov x9, x0",
        "mov x0, x1",
        "blr x9",
        "mov x0, xzr",
        "sesscache_caught:",
        "bti j",
        "ldp x29, x30, [sp], 16",
        ".cfi_restore x29",
        ".cfi_restore x30",
        ".cfi_def_cfa_offset 0",
    );

    unsafe extern "C-unwind" {
        fn sesscache_call(
            run: unsafe extern "C-unwind" fn(*mut c_void),
            data: *mut c_void,
        ) -> *mut c_void;
        static sesscache_caught: u8;

        fn _Unwind_RaiseException(exception: *mut c_void) -> c_int;
        fn _Unwind_SetGR(context: *mut c_void, register: c_int, value: usize);
        fn _Unwind_SetIP(context: *mut c_void, address: usize);
    }

    /// The version of the interface.
    const VERSION: c_int = 1;
    /// Bits of `actions`.
    const SEARCH_PHASE: c_int = 1;
    const HANDLER_FRAME: c_int = 4;
    const FORCE_UNWIND: c_int = 8;
    /// Answers.
    const FATAL_PHASE1_ERROR: c_int = 3;
    const HANDLER_FOUND: c_int = 6;
    const INSTALL_CONTEXT: c_int = 7;
    const CONTINUE_UNWIND: c_int = 8;
    /// The class of Rust's panics (library/panic_unwind/src/gcc.rs); of older releases the second.
    const RUST: [u64; 2] = [u64::from_ne_bytes(*b"MOZ\0RUST"), u64::from_be_bytes(*b"MOZ\0RUST")];
    /// rax or x0, as DWARF counts.
    const RETURN_REGISTER: c_int = 0;

    /// Asked by the unwinder what to do at the frame.
    unsafe extern "C" fn personality(
        version: c_int,
        actions: c_int,
        class: u64,
        exception: *mut c_void,
        context: *mut c_void,
    ) -> c_int {
        if version != VERSION {
            return FATAL_PHASE1_ERROR;
        }
        if !RUST.contains(&class) || actions & FORCE_UNWIND != 0 {
            return CONTINUE_UNWIND;
        }
        if actions & SEARCH_PHASE != 0 {
            return HANDLER_FOUND;
        }
        if actions & HANDLER_FRAME == 0 {
            return CONTINUE_UNWIND;
        }
        // SAFETY: the unwinder's context of this frame, and a register that the ABI names for this.
        unsafe { _Unwind_SetGR(context, RETURN_REGISTER, exception as usize) };
        // SAFETY: as above; the address is in the frame's function, where its stack is as at the call.
        unsafe { _Unwind_SetIP(context, &raw const sesscache_caught as usize) };
        INSTALL_CONTEXT
    }

    /// A call, before it and after it.
    struct Call<F, T> {
        body: Option<F>,
        result: Option<T>,
    }

    unsafe extern "C-unwind" fn run<F: FnOnce() -> T, T>(data: *mut c_void) {
        // SAFETY: the call that `catch_panic` below holds, and does not touch meanwhile.
        if let Some(call) = unsafe { data.cast::<Call<F, T>>().as_mut() } {
            call.result = call.body.take().map(|body| body());
        }
    }

    #[inline]
    pub(super) fn catch_panic<F: FnOnce() -> T, T>(body: F) -> Option<T> {
        let mut call = Call { body: Some(body), result: None };
        // SAFETY: `run` of these types with the call that it makes.
        let exception = unsafe { sesscache_call(run::<F, T>, (&raw mut call).cast()) };
        if !exception.is_null() {
            // SAFETY: an exception of Rust that was caught and not yet ended.
            unsafe { end(exception) };
        }
        call.result
    }

    /// Lets std end a panic: it is raised once more, where std catches it.
    ///
    /// # Safety
    /// The exception is one of Rust's that was caught.
    #[cold]
    unsafe fn end(exception: *mut c_void) {
        end_panic(|| {
            // SAFETY: the caller's promise. It does not return, because `end_panic` catches it.
            unsafe { _Unwind_RaiseException(exception) };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::thread::panicking;

    #[test]
    fn a_panic_is_caught_and_over() {
        struct Dropped<'a>(&'a Cell<u32>);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = Cell::new(0);
        assert_eq!(catch_panic(|| String::from("as it is")).as_deref(), Some("as it is"));
        for round in 1..=3 {
            let held = Dropped(&dropped);
            let caught = catch_panic(|| {
                let _inner = Dropped(&dropped);
                let _outer = &held;
                assert!(catch_panic(|| panic!("this test's own panic")).is_none());
                panic!("this test's own panic");
            });
            assert!(caught.is_none());
            assert!(!panicking());
            drop(held);
            assert_eq!(dropped.get(), 2 * round);
        }
    }
}
