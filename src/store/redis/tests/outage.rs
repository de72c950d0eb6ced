//! Redis becomes unreachable, hangs, refuses commands, and recovers.

use std::time::Instant;

use super::*;
use crate::store::Error;

#[test]
fn the_error_for_a_bad_url_contains_no_secret() {
    for url in [
        "",
        "http://:secret@host",
        "redis://:secret@",
        "redis://:secret@host/x",
        "redis://:secret@host/?protocol=secret",
    ] {
        let told = Redis::open(options(url), Arc::new(Metrics::new())).unwrap_err();
        assert!(
            !told.contains("secret") && !told.contains('\n') && !told.is_empty(),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_flushed_script_is_loaded_again_once() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    for reads in 1..4 {
        let _: () = raw.ask("SCRIPT FLUSH");
        assert_eq!(store.get(app(), token('a'), NOW).await.unwrap().unwrap().r, reads);
    }
    let _: () = raw.ask("CONFIG RESETSTAT");
    for _ in 0..10 {
        store.get(app(), token('a'), NOW).await.unwrap();
    }
    let stats: String = raw.ask("INFO commandstats");
    assert!(stats.contains("cmdstat_evalsha:calls=10,"), "{stats}");
    assert!(
        !stats.contains("cmdstat_eval:") && !stats.contains("cmdstat_ping"),
        "{stats}"
    );
}

#[tokio::test]
async fn killed_idle_connections_fail_no_request() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    for reads in 1..20 {
        let killed: i64 = raw.ask("CLIENT KILL TYPE normal SKIPME yes");
        assert!(killed > 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(store.get(app(), token('a'), NOW).await.unwrap().unwrap().r, reads);
    }
}

#[tokio::test]
async fn a_restart_between_two_requests_fails_none() {
    let server = Server::start();
    let port = server.port;
    let store = server.open();
    store.ping().await.unwrap();
    drop(server);
    let _server = Server::start_on(port);
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    assert!(store.get(app(), token('a'), NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn an_outage_fails_fast_and_ends_at_once() {
    let server = Server::start();
    let port = server.port;
    let store = server.open();
    store.ping().await.unwrap();
    drop(server);
    tokio::time::sleep(Duration::from_millis(20)).await;
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(store.get(app(), token('a'), NOW).await.unwrap_err(), Error::Unavailable);
        assert!(start.elapsed() < Duration::from_millis(100));
    }
    let _server = Server::start_on(port);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_hanging_redis_fails_requests_within_the_deadline() {
    let server = Server::start();
    let store = Arc::new(server.open());
    store.ping().await.unwrap();
    server.signal("STOP");
    for _ in 0..2 {
        let start = Instant::now();
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.get(app(), token('a'), NOW).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap_err(), Error::Unavailable);
        }
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    }
    server.signal("CONT");
    assert!(store.get(app(), token('a'), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn a_dead_connection_is_replaced_even_if_every_client_gives_up_early() {
    let server = Server::start();
    let store = server.open();
    store.ping().await.unwrap();
    let mut raw = server.raw();
    let before: Vec<String> = clients(&mut raw);
    server.signal("STOP");
    for _ in 0..20 {
        let hurry = tokio::time::timeout(Duration::from_millis(50), store.ping());
        assert!(hurry.await.is_err(), "there is no reply");
    }
    server.signal("CONT");
    store.ping().await.unwrap();
    assert!(
        clients(&mut raw).iter().any(|client| !before.contains(client)),
        "the connection was replaced"
    );
}

/// The ids of all client connections.
fn clients(raw: &mut Raw) -> Vec<String> {
    let list: String = raw.ask("CLIENT LIST TYPE normal");
    list.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn connections_to_a_demoted_master_are_dropped() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    let _: () = raw.ask("REPLICAOF 127.0.0.1 1");
    let connections = |raw: &mut Raw| -> u64 {
        let stats: String = raw.ask("INFO stats");
        let line = stats
            .lines()
            .find(|line| line.starts_with("total_connections_received"))
            .unwrap();
        line.rsplit(':').next().unwrap().trim().parse().unwrap()
    };
    let before = connections(&mut raw);
    for _ in 0..3 {
        assert_eq!(store.get(app(), token('a'), NOW).await.unwrap_err(), Error::Unavailable);
        assert_eq!(
            store.create(app(), token('b'), record("u", "")).await.unwrap_err(),
            Error::Unavailable
        );
    }
    assert!(
        connections(&mut raw) >= before + 5,
        "each READONLY reply drops its connection"
    );
    let _: () = raw.ask("REPLICAOF NO ONE");
    assert!(store.get(app(), token('a'), NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn a_refused_command_keeps_the_connection() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    store.ping().await.unwrap();
    let _: () = raw.ask("CONFIG SET maxmemory 1");
    let before = clients(&mut raw);
    for _ in 0..5 {
        assert_eq!(
            store.create(app(), token('a'), record("u", "")).await.unwrap_err(),
            Error::Unavailable
        );
    }
    assert!(
        clients(&mut raw)
            .iter()
            .filter(|client| before.contains(client))
            .count()
            == before.len()
    );
    let _: () = raw.ask("CONFIG SET maxmemory 0");
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.ping().await.unwrap_err(), Error::Unavailable);
}

#[tokio::test]
async fn the_password_of_the_url_is_used() {
    let server = Server::start();
    let mut raw = server.raw();
    let _: () = raw.ask("CONFIG SET requirepass right");
    for (password, expected) in [("right", Ok(token('a'))), ("wrong", Err(Error::Unavailable))] {
        let url = format!("redis://:{password}@127.0.0.1:{}/3", server.port);
        let store = Redis::open(options(&url), Arc::new(Metrics::new())).unwrap();
        assert_eq!(store.create(app(), token('a'), record("u", "")).await, expected);
    }
    let _: () = raw.ask("SELECT 3");
    assert_eq!(raw.keys().len(), 5);
}
