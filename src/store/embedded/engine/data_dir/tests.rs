//! Formats of a data folder: records with extra fields, records of a newer version, and the marker.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;

use super::DataDir;
use crate::{
    observability::metrics::Metrics,
    session::{App, Changes, Ip, Record, Token, UserId},
    store::{
        Error, Key, ListQuery,
        embedded::{
            Embedded,
            codec::{self, Fields},
            engine::WriteBatch,
        },
    },
};

const NOW: u64 = 1_800_000_000;

fn open(folder: &TempDir) -> Embedded {
    let metrics = Arc::new(Metrics::new());
    Embedded::open(folder.path(), 1 << 20, Duration::from_mins(1), metrics).unwrap()
}

fn app() -> App {
    App::parse("test-app").unwrap()
}

async fn create(store: &Embedded, id: &str) -> Token {
    let record = Record {
        id: UserId::stored(id),
        ip: Ip::stored("::1"),
        reads: 1,
        writes: 1,
        ttl: 7200,
        last_active: NOW,
        no_resave: false,
        data: None,
    };
    let token = Token::generate(|bytes| getrandom::fill(bytes).is_ok()).unwrap();
    store.create(app(), token, record).await.unwrap()
}

fn session_key(token: Token) -> Vec<u8> {
    codec::session_key(&Key { app: app(), token })
}

/// The value of a session, as it is on disk.
fn value(store: &Embedded, token: Token) -> Vec<u8> {
    let engine = store.cache.disk.engine().unwrap();
    engine.sessions.get(session_key(token)).unwrap().unwrap().to_vec()
}

fn marker(folder: &Path) -> String {
    fs::read_to_string(folder.join("rest-sessions")).unwrap()
}

async fn set(store: &Embedded, token: Token) -> Result<Option<u64>, Error> {
    let changes = Changes::for_create(br#"{"a":1}"#).unwrap();
    let session = store.set(app(), token, changes, NOW + 1).await?;
    Ok(session.map(|session| session.w))
}

/// Writes a session with extra fields, as a feature of a later version would.
fn add_fields(store: &Embedded, token: Token, fields: Fields) {
    let key = Key { app: app(), token };
    let mut stored = store.cache.peek(&key).unwrap().unwrap();
    stored.fields = fields;
    let mut batch = WriteBatch::new(store.cache.disk.engine().unwrap());
    batch.update(&key, &mut stored);
    batch.commit().unwrap();
    store.cache.apply(key, None);
}

#[tokio::test]
async fn unknown_fields_survive_get_and_set_and_raise_the_marker_first() {
    let folder = tempfile::tempdir().unwrap();
    let fields = Fields::new([(7, &b"seven"[..]), (900, b""), (7, b"again")]);
    let store = open(&folder);
    let token = create(&store, "ann").await;
    assert_eq!(value(&store, token)[0], 1);
    assert_eq!(marker(folder.path()), "rest-sessions data, format 1\n");
    add_fields(&store, token, fields.clone());
    assert_eq!(marker(folder.path()), "rest-sessions data, format 2\n");
    store.close().await.unwrap();
    drop(store);

    let store = open(&folder);
    for reads in 1..3 {
        let found = store.get(app(), token, NOW).await.unwrap().unwrap();
        assert_eq!(found.r, reads);
    }
    store.flush().await.unwrap();
    let read = value(&store, token);
    assert_eq!(read[0], 2);
    assert!(read.ends_with(fields.as_bytes()), "{read:?}");
    assert_eq!(codec::decode(&read).unwrap().record.reads, 3);
    assert_eq!(set(&store, token).await, Ok(Some(2)));
    let written = value(&store, token);
    assert_ne!(written, read);
    assert!(written.ends_with(fields.as_bytes()), "{written:?}");
    // A move of the index entry writes the record too.
    let found = store.get(app(), token, NOW + 100).await.unwrap().unwrap();
    assert_eq!(found.w, 2);
    store.close().await.unwrap();
    drop(store);
    let store = open(&folder);
    assert!(value(&store, token).ends_with(fields.as_bytes()));
    // The marker is never lowered, and other sessions stay in the older format.
    assert_eq!(store.kill(app(), token, NOW).await, Ok(true));
    let other = create(&store, "ben").await;
    assert_eq!(value(&store, other)[0], 1);
    store.close().await.unwrap();
    assert_eq!(marker(folder.path()), "rest-sessions data, format 2\n");
}

#[tokio::test]
async fn no_record_of_a_newer_format_is_written_without_the_marker() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let token = create(&store, "ann").await;
    let before = value(&store, token);
    // The draft of the marker cannot be created.
    fs::create_dir(folder.path().join("rest-sessions.draft")).unwrap();
    let key = Key { app: app(), token };
    let mut stored = store.cache.peek(&key).unwrap().unwrap();
    stored.fields = Fields::new([(7, &b"seven"[..])]);
    let mut batch = WriteBatch::new(store.cache.disk.engine().unwrap());
    batch.update(&key, &mut stored);
    assert_eq!(batch.commit(), Err(Error::Unavailable));
    assert_eq!(value(&store, token), before);
    assert_eq!(marker(folder.path()), "rest-sessions data, format 1\n");
}

#[tokio::test]
async fn a_record_of_a_newer_format_is_neither_missing_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let token = create(&store, "ann").await;
    let others = [create(&store, "ann").await, create(&store, "ann").await];
    let mut newer = value(&store, token);
    newer[0] = 3;
    let engine = store.cache.disk.engine().unwrap();
    engine.sessions.insert(session_key(token), &newer).unwrap();
    drop(engine);
    store.cache.apply(Key { app: app(), token }, None);

    let unavailable = Err(Error::Unavailable);
    assert_eq!(store.get(app(), token, NOW).await.map(drop), unavailable);
    assert_eq!(store.peek(app(), token, NOW).await.map(drop), unavailable);
    assert_eq!(set(&store, token).await.map(drop), unavailable);
    assert_eq!(store.kill(app(), token, NOW).await.map(drop), unavailable);
    let query = ListQuery {
        since: 0,
        after: None,
        now: NOW,
    };
    let soid = store.soid(app(), UserId::stored("ann"), query, usize::MAX);
    assert_eq!(store.next_part(soid).await.map(drop), unavailable);
    let soapp = store.soapp(app(), query, usize::MAX).await.unwrap();
    assert_eq!(store.next_part(soapp).await.map(drop), unavailable);
    assert_eq!(store.wipe(NOW + 8000).await, Ok(2));
    // Removals remove what they can, and do not claim to have removed it all.
    let again = create(&store, "ann").await;
    assert_eq!(
        store.killsoid(app(), UserId::stored("ann")).await.map(drop),
        unavailable
    );
    let last = create(&store, "ben").await;
    assert_eq!(store.killall(app()).await.map(drop), unavailable);
    for gone in [others[0], others[1], again, last] {
        assert_eq!(store.get(app(), gone, NOW).await.map(|found| found.is_none()), Ok(true));
    }
    assert_eq!(value(&store, token), newer);
    store.close().await.unwrap();
}

#[test]
fn a_folder_of_a_newer_version_is_refused_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rest-sessions"), "rest-sessions data, format 3\n").unwrap();
    let refused = DataDir::claim(folder.path()).err().unwrap();
    assert!(
        refused.contains("written by a newer version of rest-sessions (format 3,"),
        "{refused}"
    );
    assert_eq!(DataDir::claim_existing(folder.path()).err(), Some(refused));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(marker(folder.path()), "rest-sessions data, format 3\n");
}
