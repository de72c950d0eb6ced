//! Tests of `d`: which keys a set changes, which it keeps, and in which order they come.

use crate::support::{App, Server, Session, Store, for_every_store};

for_every_store![
    keys_keep_their_insertion_order,
    a_set_changes_only_the_keys_that_it_names,
    null_removes_a_key,
    removing_the_last_key_removes_d,
    a_removed_key_is_appended_when_it_is_set_again,
    create_ignores_null_values,
    a_repeated_key_keeps_its_first_position_and_its_last_value,
    white_space_around_values_is_dropped,
    many_sets_accumulate,
];

/// Creates a session with `body`, checks that a get answers `d`, and returns the token.
async fn created(app: &App, body: &str, d: &str) -> String {
    let token = app.create_with("ann", "", body).await;
    assert_eq!(app.get(&token).await.expect("alive").d(), d, "create {body}");
    token
}

/// Sets `body`, and checks that the answer and a get afterwards have `d`.
async fn set(app: &App, token: &str, body: &str, d: &str) {
    let answers: [Option<Session>; 2] = [app.set(token, body).await, app.get(token).await];
    for session in answers {
        assert_eq!(session.expect("alive").d(), d, "set {body}");
    }
}

async fn keys_keep_their_insertion_order(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // JavaScript would move integer-like names to the front, and many maps would sort the keys.
    let token = created(&app, r#"{"z":1,"10":2,"a":3,"2":4}"#, r#"{"z":1,"10":2,"a":3,"2":4}"#).await;
    set(
        &app,
        &token,
        r#"{"y":5,"1":6,"b":7}"#,
        r#"{"z":1,"10":2,"a":3,"2":4,"y":5,"1":6,"b":7}"#,
    )
    .await;
}

async fn a_set_changes_only_the_keys_that_it_names(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = created(&app, r#"{"a":1,"b":"two","c":true}"#, r#"{"a":1,"b":"two","c":true}"#).await;
    set(&app, &token, r#"{"b":false}"#, r#"{"a":1,"b":false,"c":true}"#).await;
    set(&app, &token, r#"{"c":"x","a":2.5}"#, r#"{"a":2.5,"b":false,"c":"x"}"#).await;
}

async fn null_removes_a_key(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = created(&app, r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"b":2,"c":3}"#).await;
    set(&app, &token, r#"{"b":null}"#, r#"{"a":1,"c":3}"#).await;
    // Removing a key that does not exist succeeds, and the set counts as a write.
    let session = app.set(&token, r#"{"nope":null}"#).await.expect("alive");
    assert_eq!((session.d(), session.w), (r#"{"a":1,"c":3}"#, 3));
}

async fn removing_the_last_key_removes_d(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = created(&app, r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#).await;
    set(&app, &token, r#"{"a":null,"b":null}"#, "").await;
    set(&app, &token, r#"{"c":1}"#, r#"{"c":1}"#).await;
}

async fn a_removed_key_is_appended_when_it_is_set_again(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = created(&app, r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#).await;
    set(&app, &token, r#"{"a":null}"#, r#"{"b":2}"#).await;
    set(&app, &token, r#"{"a":3}"#, r#"{"b":2,"a":3}"#).await;
}

async fn create_ignores_null_values(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    created(&app, r#"{"a":null,"b":2,"c":null}"#, r#"{"b":2}"#).await;
    let token = created(&app, r#"{"a":null}"#, "").await;
    set(&app, &token, r#"{"a":null,"b":1}"#, r#"{"b":1}"#).await;
}

async fn a_repeated_key_keeps_its_first_position_and_its_last_value(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = created(&app, r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#).await;
    set(&app, &token, r#"{"c":1,"b":1,"c":2,"b":9}"#, r#"{"a":3,"b":9,"c":2}"#).await;
    // The same key, spelled with an escape.
    set(
        &app,
        &token,
        r#"{"d":1,"e":2,"\u0064":3}"#,
        r#"{"a":3,"b":9,"c":2,"d":3,"e":2}"#,
    )
    .await;
    set(
        &app,
        &token,
        r#"{"a":7,"a":null,"b":null,"b":8}"#,
        r#"{"b":8,"c":2,"d":3,"e":2}"#,
    )
    .await;
}

async fn white_space_around_values_is_dropped(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = created(&app, "\r\n {\t\"a\" : 1 ,\n \"b\":\" x \" } \n", r#"{"a":1,"b":" x "}"#).await;
    set(
        &app,
        &token,
        " { \"c\" : true\n,\"a\"\t:null } ",
        r#"{"b":" x ","c":true}"#,
    )
    .await;
}

async fn many_sets_accumulate(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let token = app.create("ann").await;
    for n in 0..100 {
        app.set(&token, format!(r#"{{"k{n}":{n}}}"#)).await.expect("alive");
    }
    for n in (0..100).filter(|n| n % 2 == 0) {
        app.set(&token, format!(r#"{{"k{n}":null}}"#)).await.expect("alive");
    }
    let left: Vec<_> = (0..100)
        .filter(|n| n % 2 == 1)
        .map(|n| format!(r#""k{n}":{n}"#))
        .collect();
    let session = app.get(&token).await.expect("alive");
    assert_eq!(session.d(), format!("{{{}}}", left.join(",")));
    assert_eq!(session.w, 151);
}
