//! Counts are exact, whatever happens before and during them.

mod concurrent;
mod histogram;
mod lifetime;
mod model;
mod moving;
mod tracker;

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;

use super::scan;
use crate::{
    observability::metrics::Metrics,
    session::{App, Changes, Ip, Record, Seconds, Token, UserId},
    store::embedded::Embedded,
};

const START: Seconds = 1_700_000_000;
const MEMORY: u64 = 16 << 20;

fn open(folder: &TempDir, memory: u64) -> Embedded {
    let deadline = Duration::from_mins(1);
    Embedded::open(folder.path(), memory, deadline, Arc::new(Metrics::new())).unwrap()
}

fn app(n: usize) -> App {
    App::parse(["shop", "forum"][n]).unwrap()
}

fn id(n: usize) -> UserId {
    UserId::stored(&format!("user-{n}"))
}

fn record(user: usize, now: Seconds) -> Record {
    Record {
        id: id(user),
        ip: Ip::stored("127.0.0.1"),
        reads: 1,
        writes: 1,
        ttl: 30,
        last_active: now,
        no_resave: user % 3 == 2,
        data: None,
    }
}

async fn create(store: &Embedded, app: App, user: usize, now: Seconds) -> Token {
    let token = Token::generate(|bytes| getrandom::fill(bytes).is_ok()).unwrap();
    store.create(app, token, record(user, now)).await.unwrap()
}

async fn set(store: &Embedded, app: App, token: Token, now: Seconds) {
    let changes = Changes::for_set(br#"{"n":1}"#, Vec::new()).unwrap();
    store.set(app, token, changes, now).await.unwrap();
}

/// The count by a scan of the whole index.
async fn count_by_scan(store: &Embedded, app: App, since: Seconds) -> u64 {
    store.flush().await.unwrap();
    store
        .blocking(move |cache| scan::count(&cache.disk, app, since))
        .await
        .unwrap()
}

fn is_tracked(store: &Embedded, app: App) -> bool {
    let tracker = store.cache.trackers.find(app);
    tracker.is_some_and(|tracker| tracker.is_active())
}
