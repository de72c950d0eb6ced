//! Tests of concurrent requests: no write is lost, and no killed session comes back.

use crate::support::{App, Server, Store, for_every_store, json, redis_server, side_by_side};

for_every_store![
    concurrent_sets_keep_every_key,
    concurrent_gets_are_all_counted,
    gets_concurrent_with_a_list_survive_a_restart,
    a_kill_is_final,
    a_killsoid_is_final,
    a_killall_is_final,
];

/// Requests in flight at once. Each takes two file descriptors of this process, which may have as few as 1,024.
const AT_ONCE: usize = 100;

async fn concurrent_sets_keep_every_key(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    let sets = (0..500).map(|n| {
        let (app, token) = (app.clone(), token.clone());
        async move { app.set(&token, format!(r#"{{"k{n}":{n}}}"#)).await.expect("alive").w }
    });
    let mut counts = side_by_side(AT_ONCE, sets).await;
    // Each set answered a different `w`.
    counts.sort_unstable();
    assert_eq!(counts, (2..=501).collect::<Vec<_>>());
    let session = app.get(&token).await.expect("alive");
    assert_eq!(session.w, 501);
    let d = json(session.d());
    assert_eq!(d.as_object().expect("an object").len(), 500);
    for n in 0..500 {
        assert_eq!(d[format!("k{n}")], n);
    }
}

async fn concurrent_gets_are_all_counted(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    let gets = (0..500).map(|_| {
        let (app, token) = (app.clone(), token.clone());
        async move { app.get(&token).await.expect("alive").r }
    });
    let mut counts = side_by_side(AT_ONCE, gets).await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=500).collect::<Vec<_>>());
    assert_eq!(app.get(&token).await.expect("alive").r, 501);
}

/// A list makes the store flush buffered reads, while more gets arrive.
async fn gets_concurrent_with_a_list_survive_a_restart(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(app.create("ann").await);
    }
    let work = (0..400).map(|n| {
        let (app, token) = (app.clone(), tokens[n / 8].clone());
        async move {
            tokio::join!(app.get(&token), app.activity(60));
        }
    });
    side_by_side(AT_ONCE / 2, work).await;
    let server = server.restart().await;
    for token in &tokens {
        assert_eq!(server.app("forum").get(token).await.expect("alive").r, 9);
    }
}

/// Creates a session, and kills it while a get and a set use it.
async fn kill_while_in_use(app: App, id: String, how: Kill) {
    let token = app.create_with(&id, "", r#"{"a":1}"#).await;
    let get = app.get(&token);
    let set = app.set(&token, r#"{"b":2}"#);
    let kill = async {
        match how {
            Kill::Token => app.kill(&token).await,
            Kill::Id => app.killsoid(&id).await,
        }
    };
    // `join!` polls in this order, so the get and the set are in flight when the kill is sent.
    let (_, _, killed) = tokio::join!(get, set, kill);
    assert_eq!(killed, 1);
    assert!(app.get(&token).await.is_none());
}

#[derive(Clone, Copy)]
enum Kill {
    Token,
    Id,
}

async fn kill_200_while_in_use(store: Store, how: Kill) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let ids: Vec<_> = (0..200).map(|n| format!("user{n}")).collect();
    let rounds = ids.iter().map(|id| kill_while_in_use(app.clone(), id.clone(), how));
    side_by_side(10, rounds).await;
    assert_no_sessions_left(server, &ids).await;
}

async fn a_kill_is_final(store: Store) {
    kill_200_while_in_use(store, Kill::Token).await;
}

async fn a_killsoid_is_final(store: Store) {
    kill_200_while_in_use(store, Kill::Id).await;
}

async fn a_killall_is_final(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut ids = Vec::new();
    for round in 0..20 {
        let mut tokens = Vec::new();
        for n in 0..10 {
            let id = format!("user{round}-{n}");
            tokens.push(app.create(&id).await);
            ids.push(id);
        }
        let uses = tokens.iter().map(|token| {
            let (app, token) = (app.clone(), token.clone());
            async move {
                tokio::join!(app.get(&token), app.set(&token, r#"{"b":2}"#));
            }
        });
        let (_, killed) = tokio::join!(side_by_side(10, uses), app.killall());
        assert_eq!(killed, 10);
    }
    assert_no_sessions_left(server, &ids).await;
}

/// Checks that no session is left, neither now nor after a restart.
async fn assert_no_sessions_left(server: Server, ids: &[String]) {
    if server.config.redis_url.is_some() {
        assert_eq!(redis_server::keys(&server.config.namespace), [""; 0]);
    }
    let server = assert_empty(server, ids).await.restart().await;
    assert_empty(server, ids).await;
}

async fn assert_empty(server: Server, ids: &[String]) -> Server {
    let app = server.app("forum");
    assert_eq!(app.activity(7200).await, 0);
    assert!(app.soapp(7200).await.is_empty());
    for id in ids {
        assert!(app.soid(id).await.is_empty(), "{id}");
    }
    assert_eq!(app.killall().await, 0);
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_servers_lose_no_write() {
    let server = Server::start(Store::Redis).await;
    let peer = server.start_peer().await;
    let apps = [server.app("forum"), peer.app("forum")];
    let token = apps[0].create("ann").await;
    let sets = (0..500).map(|n| {
        let (app, token) = (apps[n % 2].clone(), token.clone());
        async move { app.set(&token, format!(r#"{{"k{n}":{n}}}"#)).await.expect("alive").w }
    });
    side_by_side(AT_ONCE, sets).await;
    let session = apps[1].get(&token).await.expect("alive");
    assert_eq!(session.w, 501);
    assert_eq!(json(session.d()).as_object().expect("an object").len(), 500);
    // One server kills the session while the other changes it.
    let set = apps[0].set(&token, r#"{"late":1}"#);
    let (_, killed) = tokio::join!(set, apps[1].kill(&token));
    assert_eq!(killed, 1);
    assert_eq!(redis_server::keys(&server.config.namespace), [""; 0]);
}
