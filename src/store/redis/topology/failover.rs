//! Failover of a master behind sentinels: connections to the old master are given up as soon as a sentinel names
//! another.
//!
//! Why at once: an old master that is still up accepts writes until the sentinels demote it, and then loses them.

use std::sync::Arc;

use crate::store::redis::{
    pool::server::Server,
    sentinel::{query::Sentinels, subscription::follow_master},
};

/// Follows the master for ever. Calls `on_switch` after connections to another one were given up. While no sentinel
/// answers, the connections stay.
pub(crate) async fn follow(sentinels: Arc<Sentinels>, server: Arc<Server>, on_switch: impl Fn()) {
    let on_address = |address: &str| {
        if server.leave_all_but(address) {
            on_switch();
        }
    };
    follow_master(sentinels, on_address).await;
}
