//! Catches a panic of the engine without its message in the log.
//!
//! Why: the engine reports some damage by a panic, and the operator gets one line about it, not a backtrace.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

/// The engine panicked.
pub(crate) struct Panicked;

/// Runs `open`, and catches a panic in it silently. Panics of other threads are reported as usual.
pub(crate) fn catch_panic<T>(open: impl FnOnce() -> T) -> Result<T, Panicked> {
    thread_local! {
        static SILENT: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    // Installed once and never removed: the hook belongs to the whole process, and other threads may open an engine or
    // panic at the same time.
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                before(info);
            }
        }));
    });
    SILENT.set(true);
    let opened = catch_unwind(AssertUnwindSafe(open));
    SILENT.set(false);
    opened.map_err(|_| Panicked)
}
