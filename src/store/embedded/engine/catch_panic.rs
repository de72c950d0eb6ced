//! Panics of the engine, which an operator need not see.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

/// The engine panicked.
pub(crate) struct Panicked;

/// What the engine finds wrong late, it may say by a panic, and the operator is to see one line only.
pub(crate) fn catch_panic<T>(open: impl FnOnce() -> T) -> Result<T, Panicked> {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    // Once and for good: the hook is the whole process', and others may open or panic at the same time.
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let opened = catch_unwind(AssertUnwindSafe(open));
    QUIET.set(false);
    opened.map_err(|_| Panicked)
}
