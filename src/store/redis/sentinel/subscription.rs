//! Follows the address of the master on one connection to one sentinel.
//!
//! The connection is subscribed to `+switch-master`. A message, and every [`POLL`] without one, makes it ask for the
//! address again: pub/sub loses messages while a connection is down, and the poll also notices a sentinel that hangs.
//! When the connection fails, the next sentinel takes its place.
//!
//! Limits: a sentinel that refuses `SUBSCRIBE` is polled more often. A sentinel that is partitioned from the others,
//! but not from this process, keeps giving the old address.

use std::{io, sync::Arc, time::Duration};

use deadpool_redis::redis::{PushInfo, PushKind, RedisError, Value};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{sleep, timeout},
};

use crate::store::redis::sentinel::query::Sentinels;

/// Between two questions on a connection that is subscribed.
const POLL: Duration = Duration::from_secs(1);
/// Between two questions on one that is not, and the pause after all sentinels have failed.
const RETRY: Duration = Duration::from_millis(500);
/// The channel on which a sentinel announces a new master.
const SWITCH: &str = "+switch-master";

/// Calls `on_address` with the address of the master, again and again, for ever.
pub(crate) async fn follow_master(sentinels: Arc<Sentinels>, on_address: impl Fn(&str)) {
    let count = sentinels.count().max(1);
    let mut place = sentinels.last();
    loop {
        // Why the error is not logged: a request that needs the sentinels logs its own.
        let _ = follow_on(&sentinels, place, &on_address).await;
        place = (place + 1) % count;
        sleep(RETRY / u32::try_from(count).unwrap_or(u32::MAX)).await;
    }
}

/// Follows the master on a connection to one sentinel until that fails.
async fn follow_on(sentinels: &Sentinels, place: usize, on_address: &impl Fn(&str)) -> Result<(), RedisError> {
    let (sender, mut pushes) = unbounded_channel();
    let config = sentinels.config().set_push_sender(sender);
    let mut connection = sentinels.connect(place, config).await?;
    let subscribed = connection.subscribe(SWITCH).await.is_ok();
    let poll = if subscribed { POLL } else { RETRY };
    loop {
        let address = sentinels.ask(place, &mut connection).await?;
        on_address(&address);
        // A timeout is the poll.
        if let Ok(ended) = timeout(poll, switched(&mut pushes, sentinels.name())).await {
            ended?;
        }
    }
}

/// Waits until the sentinel announces a new master of that name. Fails if the connection ends.
async fn switched(pushes: &mut UnboundedReceiver<PushInfo>, name: &str) -> Result<(), RedisError> {
    while let Some(push) = pushes.recv().await {
        match push.kind {
            PushKind::Message if is_about(&push.data, name) => return Ok(()),
            PushKind::Disconnection => break,
            _ => {}
        }
    }
    Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
}

/// Whether a message, `NAME OLD_HOST OLD_PORT NEW_HOST NEW_PORT`, is about the master of that name.
fn is_about(message: &[Value], name: &str) -> bool {
    let [_channel, Value::BulkString(text)] = message else {
        return false;
    };
    text.strip_prefix(name.as_bytes())
        .is_some_and(|rest| rest.starts_with(b" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_about_another_master_is_ignored() {
        let message = |text: &str| [Value::SimpleString(SWITCH.into()), Value::BulkString(text.into())];
        assert!(is_about(&message("sessions 127.0.0.1 1 127.0.0.1 2"), "sessions"));
        assert!(!is_about(&message("sessions2 127.0.0.1 1 127.0.0.1 2"), "sessions"));
        assert!(!is_about(&message("sessions"), "sessions"));
    }
}
