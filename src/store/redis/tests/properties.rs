//! For any content of Redis: no decoder panics, Rust and the scripts read the same record, and `set.lua` merges `d` as
//! [`Changes::apply`] does.

use deadpool_redis::redis::Value;
use proptest::{collection::vec, prelude::*, string::string_regex};
use tokio::runtime::Runtime;

use super::*;
use crate::{
    session::properties::{
        hold::hold,
        texts::{damaged, object, text},
    },
    session::{ApplyError, Data},
    store::{Error, redis::decode},
};

fn json(session: &impl serde::Serialize) -> String {
    serde_json::to_string(session).expect("a session has a form")
}

/// Packs a record as `pack` of `scripts/record.lua` does.
fn pack(record: &Record) -> String {
    let (id, ip) = (record.id.as_str(), record.ip.as_str());
    let numbers = [record.reads, record.writes, record.ttl, record.last_active].map(|number| number.to_string());
    let fixed = u8::from(record.no_resave);
    let data = record.data.as_ref().map_or("", Data::as_str);
    format!(
        "{} {} {} {fixed}\n{id}{ip}{data}",
        id.len(),
        ip.len(),
        numbers.join(" ")
    )
}

fn packed() -> impl Strategy<Value = Vec<u8>> {
    let names = ("\\PC{0,20}", "[0-9a-f:.]{0,39}");
    let numbers = vec(prop_oneof![0..300u64, 0..1_000_000_000_000_000u64], 4);
    (names, numbers, any::<bool>(), text(false)).prop_map(|((id, ip), numbers, fixed, data)| {
        let numbers = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let head = format!("{} {} {numbers} {}\n{id}{ip}", id.len(), ip.len(), u8::from(fixed));
        [head.into_bytes(), data].concat()
    })
}

#[test]
fn a_decoded_record_packs_to_the_same_record() {
    let metrics = Metrics::new();
    // A string that no script packs is an outage, not a record.
    let read = |bytes: &[u8]| decode::record::record(Value::BulkString(bytes.to_vec()), &metrics).unwrap_or_default();
    hold("packed", 1, damaged(packed()), |bytes| {
        let Some(record) = read(bytes) else { return };
        let again = read(pack(&record).as_bytes()).expect("it is readable again");
        assert_eq!(pack(&again), pack(&record));
    });
}

/// The fields of a session hash, one on each line; `-` for an absent field.
fn hashes() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        12 => (0..2000u64).prop_map(|number| number.to_string()),
        4 => (NOW - 1000..NOW + 1000).prop_map(|number| number.to_string()),
        1 => string_regex("-|[0-9]{14,17}|-1|0x10|1e3| 1|1.5|007|").expect("an expression"),
    ];
    let time = prop_oneof![9 => (NOW - 1000..NOW + 100).prop_map(|number| number.to_string()), 1 => number.clone()];
    let name = prop_oneof![9 => "\\PC{1,10}", 1 => Just("-".to_owned()), 1 => Just(String::new())];
    let fixed = prop::sample::select(vec!["-", "-", "1", "0", "", "true"]).prop_map(ToOwned::to_owned);
    let data = prop_oneof![3 => text(false).boxed(), 1 => Just(b"-".to_vec()).boxed()];
    let fields = (name.clone(), vec(number, 3), time, name, fixed, data);
    fields.prop_map(|(id, numbers, time, ip, fixed, data)| {
        let mut fields = [vec![id], numbers, vec![time, ip, fixed]]
            .concat()
            .join("\n")
            .into_bytes();
        fields.push(b'\n');
        fields.extend(data.into_iter().filter(|byte| *byte != b'\n'));
        fields
    })
}

#[test]
fn rust_and_the_scripts_read_the_same_record() {
    let (server, runtime) = (Server::start(), Runtime::new().unwrap());
    let store = runtime.block_on(async { server.open() });
    let mut raw = server.raw();
    let key = format!("rs:forum:{}", "a".repeat(64));
    let raw = std::cell::RefCell::new(&mut raw);
    hold("hash", 20, hashes(), |input| {
        let mut raw = raw.borrow_mut();
        let _: i64 = raw.send(&["DEL", &key]);
        for (name, value) in decode::record::FIELDS.iter().zip(input.split(|byte| *byte == b'\n')) {
            if value != b"-" {
                let _: i64 = raw.send(&[b"HSET", key.as_bytes(), name.as_bytes(), value]);
            }
        }
        let (plain, script) = runtime.block_on(async {
            let plain = store.peek(app(), token('a'), NOW).await.unwrap();
            (plain, store.get(app(), token('a'), NOW).await.unwrap())
        });
        assert_eq!(
            plain.map(|session| json(&session)),
            script.map(|session| json(&session))
        );
    });
}

/// The stored `d` and the body of a set, one on each line.
fn merges() -> impl Strategy<Value = Vec<u8>> {
    let line = |mut bytes: Vec<u8>| {
        bytes.retain(|byte| !b"\r\n".contains(byte));
        bytes
    };
    let long = (0..60_100usize).prop_map(|length| format!(r#"{{"long":"{}"}}"#, "x".repeat(length)).into_bytes());
    let stored = prop_oneof![30 => text(true).boxed(), 1 => long.boxed()];
    (stored, object(false)).prop_map(move |(old, new)| [line(old), line(new.into_bytes())].join(&b'\n'))
}

#[test]
fn set_merges_any_stored_d_as_changes_apply() {
    let (server, runtime) = (Server::start(), Runtime::new().unwrap());
    let store = runtime.block_on(async { server.open() });
    let mut raw = server.raw();
    let key = format!("rs:forum:{}", "a".repeat(64));
    let raw = std::cell::RefCell::new(&mut raw);
    hold("merge", 20, merges(), |input| {
        let mut raw = raw.borrow_mut();
        let Ok(text) = std::str::from_utf8(input) else { return };
        let (stored, body) = text.split_once('\n').expect("two lines");
        let change = || Changes::for_set(body.as_bytes(), Vec::new());
        let Ok(changes) = change() else { return };
        let _: i64 = raw.send(&["DEL", &key]);
        let _: i64 = raw.send(&[
            "HSET",
            &key,
            "id",
            "u",
            "r",
            "1",
            "w",
            "1",
            "ttl",
            "100",
            "la",
            &NOW.to_string(),
            "ip",
            "1",
        ]);
        let _: i64 = raw.send(&["HSET", &key, "d", stored]);
        let set = runtime.block_on(store.set(app(), token('a'), changes, NOW));
        let (left, w): (Option<String>, String) = (raw.send(&["HGET", &key, "d"]), raw.send(&["HGET", &key, "w"]));
        let old = if stored.is_empty() {
            Some(None)
        } else {
            Data::stored(stored)
        };
        let unchanged = (Some(stored), "1");
        match old.map(|old| change().expect("as before").apply(old.as_ref())) {
            None => {
                assert!(set.unwrap().is_none(), "{stored:?} is no flat object");
                assert_eq!((left.as_deref(), &*w), unchanged);
            }
            Some(Err(error)) => {
                assert_eq!((set.unwrap_err(), error), (Error::TooLarge, ApplyError::TooLarge));
                assert_eq!((left.as_deref(), &*w), unchanged);
            }
            Some(Ok(expected)) => {
                let expected = expected.as_ref().map(Data::as_str);
                let session = set.unwrap().expect("it is there");
                assert_eq!((session.d.as_ref().map(Data::as_str), session.w), (expected, 2));
                assert_eq!((left.as_deref(), &*w), (expected, "2"));
            }
        }
    });
}
