//! What is written is read again, and nothing that can be on disk makes the reader panic.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::session::properties::{
    hold::hold,
    texts::{damaged, text},
};

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 1_700_000_000..1_900_000_000u64, any::<u64>(), Just(u64::MAX)]
}

/// Records as they are written.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let data = text(false).prop_map(|bytes| {
        let stored = std::str::from_utf8(&bytes).ok().and_then(Data::stored);
        stored.flatten()
    });
    let names = ("\\PC{0,20}", "[0-9a-f:.]{0,39}");
    (names, vec(numbers(), 5), any::<bool>(), data).prop_map(|((id, ip), numbers, no_resave, data)| {
        encode(&Stored {
            record: Record {
                id: UserId::stored(&id),
                ip: Ip::stored(&ip),
                reads: numbers[0],
                writes: numbers[1],
                ttl: numbers[2],
                last_active: numbers[3],
                no_resave,
                data,
            },
            active: numbers[4],
        })
    })
}

#[test]
fn a_record_is_read_as_it_was_written() {
    hold("record", 1, records(), |bytes| {
        let stored = decode(bytes).expect("it was written");
        assert_eq!(encode(&stored), bytes);
        // Numbers may be anything: whoever reckons with them must not overflow.
        let mut record = stored.record;
        for now in [0, record.last_active, u64::MAX] {
            let left = record.end();
            assert_eq!(record.expired(now), now.saturating_sub(record.last_active) > record.ttl);
            let _ = record.view(now);
            record.renew(now);
            assert!(
                !record.no_resave || record.end() == left || record.expired(now) || left == u64::MAX || record.ttl == 0
            );
        }
    });
}

#[test]
fn a_damaged_record_is_read_or_not() {
    hold("record-damaged", 1, damaged(damaged(records())), |bytes| {
        let Some(stored) = decode(bytes) else { return };
        let written = encode(&stored);
        let again = decode(&written).expect("what was read can be written");
        assert_eq!(encode(&again), written);
    });
}

/// A key and a value of the `activity` index, the key's length in front.
fn entries() -> impl Strategy<Value = Vec<u8>> {
    (("[a-zA-Z0-9_-]{3,20}", "[a-zA-Z0-9]{64}", numbers()), records()).prop_map(|((app, token, active), record)| {
        let key = Key {
            app: App::parse(&app).expect("an app"),
            token: Token::parse(&token).expect("a token"),
        };
        let record = decode(&record).expect("a record").record;
        let (key, value) = (activity_key(&key, active), activity_value(&record));
        [vec![u8::try_from(key.len()).expect("short")], key, value].concat()
    })
}

/// The parts of such an entry.
fn parts(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = entry.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[test]
fn an_index_entry_is_read_as_it_was_written() {
    hold("index", 1, entries(), |entry| {
        let (key, value) = parts(entry).expect("an entry");
        let read = activity(key, value).expect("it was written");
        assert_eq!(activity_key(&read.key, read.active), key);
        let (end, id): (Seconds, String) = postcard::from_bytes(value).expect("it was written");
        assert_eq!((read.end, read.id), (end, id));
        assert_eq!(trailing_token(key), Some(read.key.token));
    });
}

#[test]
fn a_damaged_index_entry_is_read_or_not() {
    hold("index-damaged", 1, damaged(damaged(entries())), |entry| {
        let Some((key, value)) = parts(entry) else { return };
        let _ = trailing_token(key);
        if let Some(read) = activity(key, value) {
            assert_eq!(activity_key(&read.key, read.active), key);
        }
    });
}
