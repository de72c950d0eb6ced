//! Unreadable records and indexes, and ones that disagree.

use super::*;

fn hash() -> String {
    format!("rs:forum:{}", "a".repeat(64))
}

/// The fields of a readable session hash; it has no index entries.
const VALID: [(&str, &str); 6] = [
    ("id", "u"),
    ("r", "1"),
    ("w", "1"),
    ("ttl", "100"),
    ("la", "1700000000"),
    ("ip", "::1"),
];

fn write(raw: &mut Raw, changed: &[(&str, &str)]) {
    let _: i64 = raw.send(&["DEL", &hash()]);
    let mut fields = VALID.to_vec();
    for (field, value) in changed {
        fields.retain(|(name, _)| name != field);
        fields.push((field, value));
    }
    for (field, value) in fields.iter().filter(|(_, value)| *value != "absent") {
        let _: i64 = raw.send(&["HSET", &hash(), field, value]);
    }
}

#[tokio::test]
async fn unreadable_records_count_as_missing() {
    let server = Server::start();
    let metrics = Arc::new(Metrics::new());
    let store = open(server.port, &metrics);
    let mut raw = server.raw();
    let broken: [&[(&str, &str)]; 19] = [
        &[("id", "absent")],
        &[("r", "absent")],
        &[("w", "absent")],
        &[("ttl", "absent")],
        &[("la", "absent")],
        &[("r", "x")],
        &[("w", "")],
        &[("ttl", "1e3")],
        &[("ttl", "-5")],
        &[("ttl", "10.5")],
        &[("la", "NaN")],
        &[("la", "0x10")],
        &[("la", " 17")],
        &[("d", "{")],
        &[("d", "[]")],
        &[("d", "null")],
        &[("d", r#"{"a":{}}"#)],
        &[("d", r#"{"a":1}x"#)],
        &[("d", r#"{"a":01}"#)],
    ];
    let before = counter(&metrics, "rest_sessions_unreadable_records_total");
    for changed in broken {
        write(&mut raw, changed);
        assert!(
            store.get(app(), token('a'), NOW).await.unwrap().is_none(),
            "{changed:?}"
        );
        assert!(
            store
                .set(app(), token('a'), changes(r#"{"a":1}"#), NOW)
                .await
                .unwrap()
                .is_none(),
            "{changed:?}"
        );
        let _: i64 = raw.ask(&format!("SADD rs:forum:us:u {}", "a".repeat(64)));
        let _: i64 = raw.ask(&format!("ZADD rs:forum:_sessions {NOW} {}:u", "a".repeat(64)));
        assert!(soid(&store, id("u"), NOW).await.is_empty(), "{changed:?}");
        assert!(soapp(&store, NOW, NOW).await.is_empty(), "{changed:?}");
        assert!(!store.kill(app(), token('a'), NOW).await.unwrap(), "{changed:?}");
        let left: i64 = raw.send(&["EXISTS", &hash()]);
        assert_eq!(left, 0, "{changed:?}");
    }
    assert_eq!(
        counter(&metrics, "rest_sessions_unreadable_records_total") - before,
        5 * 19
    );
    store.get(app(), token('a'), NOW).await.unwrap();
    assert_eq!(
        counter(&metrics, "rest_sessions_unreadable_records_total") - before,
        5 * 19,
        "a missing session is not unreadable"
    );
}

#[tokio::test]
async fn unusual_but_valid_records_are_read() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    let large = "9".repeat(65);
    let valid: [&[(&str, &str)]; 12] = [
        &[],
        // The largest number that a script writes, and larger ones.
        &[("r", "999999999999999"), ("w", "999999999999999")],
        &[("r", &large), ("w", &large)],
        &[("ttl", &large), ("la", &large)],
        &[("ttl", "18446744073709551616"), ("no_resave", "1")],
        &[("d", r#"{"a":123456789012345678901234567890,"b":-1e999}"#)],
        &[("ip", "absent")],
        &[("r", "007")],
        &[("ttl", "0")],
        &[("d", "")],
        &[("d", " { \"a\" : 1 } ")],
        &[("no_resave", "true")],
    ];
    for changed in valid {
        write(&mut raw, changed);
        // A session with a ttl of 0 ends with its second.
        let later = if changed.contains(&("ttl", "0")) { NOW } else { NOW + 1 };
        let forever = changed
            .iter()
            .any(|(field, value)| *field == "no_resave" && *value == "1");
        for _ in 0..2 {
            let session = store.get(app(), token('a'), NOW).await.unwrap();
            assert!(
                session.is_some_and(|session| session.no_resave == forever),
                "{changed:?}"
            );
            let set = store
                .set(app(), token('a'), changes(r#"{"c":1}"#), later)
                .await
                .unwrap();
            assert!(set.is_some(), "{changed:?}");
        }
        let looked = store.peek(app(), token('a'), later).await.unwrap();
        assert!(looked.is_some(), "{changed:?}");
        assert!(store.kill(app(), token('a'), later).await.unwrap(), "{changed:?}");
    }
}

#[tokio::test]
async fn invalid_bytes_in_no_resave_do_not_hide_a_session() {
    let server = Server::start();
    let mut raw = server.raw();
    let store = server.open();
    write(&mut raw, &[]);
    let _: i64 = raw.send(&[&b"HSET"[..], hash().as_bytes(), b"no_resave", b"\xff\xfe"]);
    for _ in 0..2 {
        let looked = store.peek(app(), token('a'), NOW).await.unwrap();
        assert!(looked.is_some_and(|session| !session.no_resave));
        let set = store.set(app(), token('a'), changes(r#"{"b":1}"#), NOW).await.unwrap();
        assert!(set.is_some_and(|session| !session.no_resave));
    }
    assert_eq!(soid(&store, id("u"), NOW).await.len(), 1);
}

#[tokio::test]
async fn keys_of_a_wrong_type_count_as_missing() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    let _: () = raw.send(&["SET", &hash(), "x"]);
    assert!(store.get(app(), token('a'), NOW).await.unwrap().is_none());
    assert!(
        store
            .set(app(), token('a'), changes(r#"{"a":1}"#), NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert!(!store.kill(app(), token('a'), NOW).await.unwrap());
    // An id whose set of tokens has another type.
    let _: () = raw.ask("SET rs:forum:us:u x");
    let _: i64 = raw.ask("ZADD rs:forum:_users 1 u");
    let _: i64 = raw.ask(&format!("ZADD rs:SESSIONS 1 forum:{}:u", "a".repeat(64)));
    assert_eq!(store.wipe(NOW).await.unwrap(), 0);
    assert_eq!(store.killall(app()).await.unwrap(), 0);
    assert_eq!(raw.keys(), ["rs:forum:us:u"]);
}

#[tokio::test]
async fn the_wiper_trusts_the_hash() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    let tokens = ["a", "b", "c", "d"].map(|letter| letter.repeat(64));
    // Alive, but with its old end; removed, but still in every index; of another id; and invalid members.
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    let _: i64 = raw.ask(&format!("ZADD rs:SESSIONS 1 forum:{}:u", tokens[0]));
    store.create(app(), token('b'), record("v:1", "")).await.unwrap();
    let _: i64 = raw.ask(&format!("DEL rs:forum:{}", tokens[1]));
    store.create(app(), token('c'), record("w", "")).await.unwrap();
    let _: i64 = raw.ask(&format!("ZADD rs:SESSIONS 2 forum:{}:x", tokens[2]));
    let _: i64 = raw.ask("ZADD rs:SESSIONS 3 nonsense 4 half:split 5 :: 6 a:b:c");
    // What a peer's get leaves behind if it races with a kill.
    let _: i64 = raw.ask(&format!("HSET rs:forum:{} r 1 la 5", tokens[3]));
    let _: i64 = raw.ask(&format!("ZADD rs:SESSIONS 7 forum:{}:y", tokens[3]));
    let _: i64 = raw.ask(&format!("ZADD rs:forum:_sessions 7 {}:y", tokens[3]));
    let _: i64 = raw.ask("ZADD rs:forum:_users 7 y");
    assert_eq!(store.wipe(NOW + 100).await.unwrap(), 0);
    let mut ends: Vec<String> = raw.ask("ZRANGE rs:SESSIONS 0 -1");
    ends.sort();
    assert_eq!(
        ends,
        [
            format!("forum:{}:u", tokens[0]),
            format!("forum:{}:v:1", tokens[1]),
            format!("forum:{}:w", tokens[2])
        ]
    );
    assert_eq!(raw.send::<u64>(&["ZSCORE", "rs:SESSIONS", &ends[0]]), NOW + 100);
    assert_eq!(store.wipe(NOW + 101).await.unwrap(), 2);
    assert_eq!(raw.keys(), [""; 0]);
}

#[tokio::test]
async fn killall_finds_sessions_that_lost_their_index_entry() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    for letter in ['a', 'b'] {
        store.create(app(), token(letter), record("u:1", "")).await.unwrap();
    }
    let _: i64 = raw.ask(&format!("ZREM rs:forum:_sessions {}:u:1", "a".repeat(64)));
    let _: i64 = raw.ask("ZADD rs:forum:_sessions 1 nonsense");
    let _: i64 = raw.ask("ZADD rs:forum:_users 1 nobody");
    assert_eq!(store.killall(app()).await.unwrap(), 2);
    assert_eq!(raw.keys(), [""; 0]);
}
