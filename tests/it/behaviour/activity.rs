//! Tests of `activity`, which counts ids (not sessions) by the most recent activity of any session of the id.

use crate::support::{Server, Store, for_every_store};

for_every_store![
    activity_counts_an_id_once,
    get_and_set_make_an_id_active,
    activity_counts_the_id_of_an_expired_session,
    an_id_keeps_its_last_activity_after_the_active_session_is_killed,
    an_id_keeps_its_last_activity_through_several_kills,
    a_kill_does_not_change_the_idle_time_of_other_sessions,
    killing_the_last_session_forgets_the_activity_of_its_id,
];

async fn activity_counts_an_id_once(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for id in ["ann", "ann", "bob", "ann", "carl"] {
        app.create(id).await;
        server.advance(1);
    }
    assert_eq!(app.activity(60).await, 3);
}

async fn get_and_set_make_an_id_active(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = [
        app.create("ann").await,
        app.create("bob").await,
        app.create("carl").await,
    ];
    server.advance(11);
    assert_eq!(app.activity(10).await, 0);
    app.get(&tokens[0]).await.expect("alive");
    assert_eq!(app.activity(10).await, 1);
    app.set(&tokens[1], r#"{"a":1}"#).await.expect("alive");
    assert_eq!(app.activity(10).await, 2);
    // Only seven seconds apart: a store may update its activity index less often.
    server.advance(7);
    app.get(&tokens[0]).await.expect("alive");
    server.advance(7);
    assert_eq!(app.activity(10).await, 1);
    assert_eq!(app.activity(14).await, 2);
    assert_eq!(app.activity(24).await, 2);
    assert_eq!(app.activity(25).await, 3);
}

async fn activity_counts_the_id_of_an_expired_session(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create_with("ann", "ttl=10", "").await;
    server.advance(50);
    assert!(app.get(&token).await.is_none());
    assert!(app.set(&token, r#"{"a":1}"#).await.is_none());
    assert!(app.soapp(60).await.is_empty());
    // The id counts until the session is removed. The get and the set above found nothing, so they are no activity.
    assert_eq!(app.activity(50).await, 1);
    assert_eq!(app.activity(49).await, 0);
    assert_eq!(app.killsoid("ann").await, 1);
    assert_eq!(app.activity(50).await, 0);
}

async fn an_id_keeps_its_last_activity_after_the_active_session_is_killed(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    app.create("ann").await;
    let busy = app.create("ann").await;
    server.advance(100);
    app.get(&busy).await.expect("alive");
    server.advance(5);
    assert_eq!(app.kill(&busy).await, 1);
    // The remaining session was active 105 seconds ago, the id 5 seconds ago.
    assert_eq!(app.activity(10).await, 1);
    server.advance(5);
    assert_eq!(app.activity(10).await, 1);
    server.advance(1);
    assert_eq!(app.activity(10).await, 0);
    assert_eq!(app.activity(11).await, 1);
}

async fn an_id_keeps_its_last_activity_through_several_kills(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(app.create("ann").await);
    }
    server.advance(100);
    app.set(&tokens[1], r#"{"a":1}"#).await.expect("alive");
    // Each kill passes the last activity on to a remaining session, which one of the later kills removes in turn.
    for token in [&tokens[1], &tokens[0], &tokens[3]] {
        assert_eq!(app.kill(token).await, 1);
        assert_eq!(app.activity(10).await, 1);
    }
    assert_eq!(app.kill(&tokens[2]).await, 1);
    assert_eq!(app.activity(7200).await, 0);
}

async fn a_kill_does_not_change_the_idle_time_of_other_sessions(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let unused = app.create_with("ann", "ttl=150", "").await;
    let busy = app.create_with("ann", "ttl=150", "").await;
    server.advance(100);
    app.get(&busy).await.expect("alive");
    assert_eq!(app.kill(&busy).await, 1);
    assert!(app.soapp(99).await.is_empty());
    assert_eq!(app.soapp(100).await[0].idle, 100);
    assert_eq!(app.soid("ann").await[0].idle, 100);
    // The kill did not renew the remaining session.
    server.advance(51);
    assert!(app.get(&unused).await.is_none());
}

async fn killing_the_last_session_forgets_the_activity_of_its_id(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = [app.create("ann").await, app.create("ann").await];
    app.create("bob").await;
    for token in &tokens {
        assert_eq!(app.activity(60).await, 2);
        app.kill(token).await;
    }
    assert_eq!(app.activity(60).await, 1);
    app.killsoid("bob").await;
    assert_eq!(app.activity(60).await, 0);
    // A new session makes the id active again.
    server.advance(20);
    app.create("ann").await;
    assert_eq!(app.activity(10).await, 1);
}
