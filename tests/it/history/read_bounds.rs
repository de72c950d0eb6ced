//! Bounds on `r` where reads may be lost or counted twice: only their number is compared, not their order.

use std::collections::BTreeMap;

use super::{
    check::{Reads, Violation},
    record::{Call, Operation},
};

/// Checks `r` of every answer against a lower or an upper bound.
pub(super) fn check_read_bounds(history: &[Operation], bound: Reads) -> Result<(), Violation> {
    let mut gets: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        if let Call::Get { session } = operation.call {
            gets.entry(session).or_default().push(operation);
        }
    }
    for operation in history {
        for seen in operation.answers() {
            let gets = gets.get(&seen.session).into_iter().flatten();
            let violated = if matches!(bound, Reads::AtLeast) {
                let before = gets.filter(|get| get.ended < operation.began && get.seen().is_some());
                seen.reads < 1 + before.count() as u64
            } else {
                let before = gets.filter(|get| get.began < operation.ended);
                // The answer to a get does not count that get.
                let itself = usize::from(matches!(operation.call, Call::Get { .. }));
                seen.reads > (1 + before.count() - itself) as u64
            };
            if violated {
                return Err(Violation {
                    user: operation.user,
                    session: Some(seen.session),
                    text: format!("r is not {bound:?} in\n{operation}"),
                });
            }
        }
    }
    Ok(())
}
