//! Connects to the first address of a host name that serves (RFC 8305, "Happy Eyeballs").
//!
//! Addresses are tried in the order of the resolver. The next attempt starts as soon as one has failed, or after a head
//! start: an address that drops packets costs the head start, not the whole deadline.

use std::{net::SocketAddr, time::Duration};

use deadpool_redis::redis::RedisError;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

/// The head start of each address. It is shorter if the attempts would not fit into the deadline.
const HEAD_START: Duration = Duration::from_millis(250);

/// An address that failed and why; `None`: it did not answer in time.
pub(super) type FailedAddress = (SocketAddr, Option<RedisError>);

/// The first connection that `connect` makes, or all addresses with why they failed.
pub(super) async fn first<T, F>(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<FailedAddress>>
where
    F: Future<Output = Result<T, RedisError>>,
{
    let shares = u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
    let head_start = HEAD_START.min(deadline.saturating_duration_since(Instant::now()) / shares);
    let mut attempts = FuturesUnordered::new();
    let mut failed: Vec<FailedAddress> = Vec::new();
    let mut rest = addresses.into_iter();
    let mut next = Instant::now();
    loop {
        if attempts.is_empty() || Instant::now() >= next {
            match rest.next() {
                Some(address) => {
                    let attempt = connect(address);
                    attempts.push(async move { (address, attempt.await) });
                    failed.push((address, None));
                    next = Instant::now() + head_start;
                }
                None if attempts.is_empty() => return Err(failed),
                None => {}
            }
        }
        tokio::select! {
            Some((address, outcome)) = attempts.next() => match outcome {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    if let Some(entry) = failed.iter_mut().find(|(other, _)| *other == address) {
                        entry.1 = Some(error);
                    }
                    next = Instant::now();
                }
            },
            () = sleep_until(next), if rest.len() > 0 => {}
            () = sleep_until(deadline) => return Err(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect()
    }

    fn refused() -> RedisError {
        io::Error::from(io::ErrorKind::ConnectionRefused).into()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn a_silent_address_does_not_delay_the_next_one() {
        let found = first(addresses(3), soon(), async |address: SocketAddr| match address.port() {
            1 => std::future::pending().await,
            2 => Err(refused()),
            port => Ok(port),
        });
        assert_eq!(found.await.ok(), Some(3));
    }

    #[tokio::test]
    async fn the_first_address_has_a_head_start() {
        let found = first(addresses(2), soon(), async |address: SocketAddr| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(address.port())
        });
        assert_eq!(found.await.ok(), Some(1));
    }

    #[tokio::test]
    async fn the_error_lists_all_addresses() {
        let deadline = Instant::now() + Duration::from_millis(200);
        let found = first(addresses(9), deadline, async |address: SocketAddr| {
            match address.port() {
                1 => std::future::pending::<Result<(), RedisError>>().await,
                _ => Err(refused()),
            }
        });
        let failed = found.await.expect_err("all addresses fail");
        let ports: Vec<_> = failed
            .iter()
            .map(|(address, why)| (address.port(), why.is_some()))
            .collect();
        assert_eq!(ports, (1..=9).map(|port| (port, port > 1)).collect::<Vec<_>>());
        assert!(first(Vec::new(), soon(), async |_| Ok(())).await.is_err());
    }
}
