//! What the operations write to Redis, key by key, and what they return.

use super::*;

fn a() -> String {
    "a".repeat(64)
}

#[tokio::test]
async fn create_writes_the_classic_layout() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    let mut session = record("u:1 ü", r#"{"n":12345678901234567890}"#);
    session.no_resave = true;
    store.create(app(), token('a'), session).await.unwrap();
    let mut expected = vec![
        "rs:SESSIONS".to_owned(),
        format!("rs:forum:{}", a()),
        "rs:forum:_sessions".to_owned(),
        "rs:forum:_users".to_owned(),
        "rs:forum:us:u:1 ü".to_owned(),
    ];
    expected.sort();
    assert_eq!(raw.keys(), expected);
    let hash: Vec<String> = raw.ask(&format!("HGETALL rs:forum:{}", a()));
    let la = NOW.to_string();
    let expected = [
        "id",
        "u:1 ü",
        "r",
        "1",
        "w",
        "1",
        "ip",
        "127.0.0.1",
        "la",
        &la,
        "ttl",
        "100",
        "d",
        r#"{"n":12345678901234567890}"#,
        "no_resave",
        "1",
    ];
    assert_eq!(hash, expected);
    let sessions: Vec<(String, u64)> = raw.ask("ZRANGE rs:forum:_sessions 0 -1 WITHSCORES");
    assert_eq!(sessions, [(format!("{}:u:1 ü", a()), NOW)]);
    let users: Vec<(String, u64)> = raw.ask("ZRANGE rs:forum:_users 0 -1 WITHSCORES");
    assert_eq!(users, [("u:1 ü".to_owned(), NOW)]);
    let ends: Vec<(String, u64)> = raw.ask("ZRANGE rs:SESSIONS 0 -1 WITHSCORES");
    assert_eq!(ends, [(format!("forum:{}:u:1 ü", a()), NOW + 100)]);
    let tokens: Vec<String> = raw.send(&["SMEMBERS", "rs:forum:us:u:1 ü"]);
    assert_eq!(tokens, [a()]);
}

#[tokio::test]
async fn get_counts_and_renews() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    store
        .create(app(), token('a'), record("u", r#"{"a":1}"#))
        .await
        .unwrap();
    let first = store.get(app(), token('a'), NOW).await.unwrap().unwrap();
    assert_eq!((first.r, first.w, first.idle, first.ttl), (1, 1, 0, 100));
    let second = store.get(app(), token('a'), NOW + 60).await.unwrap().unwrap();
    assert_eq!((second.r, second.idle, second.ttl), (2, 60, 100));
    let score_of = |raw: &mut Raw, key: &str, member: &str| raw.send::<u64>(&["ZSCORE", key, member]);
    let member = format!("{}:u", a());
    assert_eq!(score_of(&mut raw, "rs:forum:_sessions", &member), NOW + 60);
    assert_eq!(score_of(&mut raw, "rs:forum:_users", "u"), NOW + 60);
    assert_eq!(score_of(&mut raw, "rs:SESSIONS", &format!("forum:{member}")), NOW + 160);
    // A clock that is behind neither ages the session nor moves a score back.
    let behind = store.get(app(), token('a'), NOW + 10).await.unwrap().unwrap();
    assert_eq!((behind.r, behind.idle), (3, 0));
    assert_eq!(score_of(&mut raw, "rs:forum:_users", "u"), NOW + 60);
    store.create(app(), token('b'), record("u", "")).await.unwrap();
    assert_eq!(score_of(&mut raw, "rs:forum:_users", "u"), NOW + 60);
    assert!(store.get(app(), token('a'), NOW + 160).await.unwrap().is_some());
    assert!(store.get(app(), token('a'), NOW + 261).await.unwrap().is_none());
    let reads: u64 = raw.ask(&format!("HGET rs:forum:{} r", a()));
    assert_eq!(reads, 5, "a get of an expired session does not count");
}

#[tokio::test]
async fn no_resave_keeps_the_end_of_its_creation() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    let mut session = record("u", "");
    session.no_resave = true;
    store.create(app(), token('a'), session).await.unwrap();
    for second in 1..=100 {
        let got = store.get(app(), token('a'), NOW + second).await.unwrap().unwrap();
        assert_eq!((got.ttl, got.idle, got.no_resave), (100 - second, 1, true));
    }
    let set = store
        .set(app(), token('a'), changes(r#"{"a":1}"#), NOW + 100)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((set.ttl, set.idle, set.r, set.w), (0, 0, 101, 2));
    let ends: u64 = raw.send(&["ZSCORE".to_owned(), "rs:SESSIONS".into(), format!("forum:{}:u", a())]);
    assert_eq!(ends, NOW + 100);
    let stored: (u64, u64) = raw.ask(&format!("HMGET rs:forum:{} la ttl", a()));
    assert_eq!(stored, (NOW + 100, 0));
    assert!(store.get(app(), token('a'), NOW + 101).await.unwrap().is_none());
}

#[tokio::test]
async fn lists_are_in_order_and_leave_out_expired_sessions() {
    let server = Server::start();
    let store = server.open();
    for (letter, la) in [('a', NOW), ('b', NOW + 50), ('c', NOW + 20)] {
        let mut session = record("u", &format!(r#"{{"t":"{letter}"}}"#));
        session.last_active = la;
        store.create(app(), token(letter), session).await.unwrap();
    }
    let names = |sessions: Vec<crate::session::Session>| -> Vec<String> {
        sessions
            .iter()
            .map(|session| session.d.as_ref().unwrap().as_str()[6..7].to_owned())
            .collect()
    };
    assert_eq!(names(soid(&store, id("u"), NOW + 60).await), ["b", "c", "a"]);
    assert_eq!(names(soid(&store, id("u"), NOW + 101).await), ["b", "c"]);
    assert_eq!(names(soapp(&store, NOW + 20, NOW + 60).await), ["b", "c"]);
    assert_eq!(names(soapp(&store, NOW, NOW + 125).await), ["b"]);
    assert!(soid(&store, id("v"), NOW).await.is_empty());
    assert_eq!(store.activity(app(), NOW + 50).await.unwrap(), 1);
    assert_eq!(store.activity(app(), NOW + 51).await.unwrap(), 0);
}

#[tokio::test]
async fn kills_remove_every_key_and_index_entry() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    for (letter, who) in [('a', "u:1"), ('b', "u:1"), ('c', "v"), ('d', "v"), ('e', "w")] {
        store.create(app(), token(letter), record(who, "")).await.unwrap();
    }
    assert!(store.kill(app(), token('a'), NOW).await.unwrap());
    assert!(!store.kill(app(), token('a'), NOW).await.unwrap());
    assert_eq!(store.activity(app(), NOW).await.unwrap(), 3);
    assert!(store.kill(app(), token('b'), NOW).await.unwrap());
    assert_eq!(store.activity(app(), NOW).await.unwrap(), 2);
    assert_eq!(store.killsoid(app(), id("v")).await.unwrap(), 2);
    assert_eq!(store.killsoid(app(), id("v")).await.unwrap(), 0);
    assert!(
        !store.kill(app(), token('e'), NOW + 101).await.unwrap(),
        "an expired session is not killed"
    );
    assert_eq!(raw.keys(), [""; 0], "but its keys are removed");
}

#[tokio::test]
async fn killall_and_wipe_work_in_batches() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    let fill = async |ids: u32| {
        for n in 0..1203u32 {
            let token = Token::parse(&format!("{n:064}")).unwrap();
            let mut session = record(&format!("u:{}", n % ids), "");
            session.last_active = NOW + u64::from(n % 2) * 1000;
            store.create(app(), token, session).await.unwrap();
        }
    };
    fill(7).await;
    let other = App::parse("other").unwrap();
    store.create(other, token('a'), record("u", "")).await.unwrap();
    assert_eq!(store.wipe(NOW + 100).await.unwrap(), 0);
    assert_eq!(store.wipe(NOW + 101).await.unwrap(), 603);
    assert_eq!(store.activity(app(), 0).await.unwrap(), 7);
    assert_eq!(store.wipe(NOW + 2000).await.unwrap(), 601);
    assert_eq!(raw.keys(), [""; 0]);
    fill(1203).await;
    store.create(other, token('a'), record("u", "")).await.unwrap();
    assert_eq!(store.killall(app()).await.unwrap(), 1203);
    assert_eq!(store.killall(app()).await.unwrap(), 0);
    assert_eq!(raw.keys().len(), 5, "the other app is left alone");
    assert!(store.get(other, token('a'), NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn changes_are_published_for_peers_with_a_cache() {
    let server = Server::start();
    let store = server.open();
    let mut connection = server.client().get_connection().unwrap();
    let mut channel = connection.as_pubsub();
    channel.subscribe("rs:cache").unwrap();
    channel.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for letter in ['a', 'b', 'c'] {
        store
            .create(app(), token(letter), record(&letter.to_string(), ""))
            .await
            .unwrap();
    }
    store.get(app(), token('a'), NOW).await.unwrap();
    store.set(app(), token('a'), changes(r#"{"a":1}"#), NOW).await.unwrap();
    store.kill(app(), token('a'), NOW).await.unwrap();
    store.killsoid(app(), id("b")).await.unwrap();
    store.killall(app()).await.unwrap();
    for letter in ['a', 'a', 'b', 'c'] {
        let heard: String = channel.get_message().unwrap().get_payload().unwrap();
        assert_eq!(heard, format!("forum:{}", letter.to_string().repeat(64)));
    }
}
