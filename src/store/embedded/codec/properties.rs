//! Properties of the codec: it reads what it has written, and no bytes make it panic.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    session::{
        App, Data, Ip, Record, Seconds, Token, UserId,
        properties::{
            hold::hold,
            texts::{damaged, text},
        },
    },
    store::Key,
};

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 1_700_000_000..1_900_000_000u64, any::<u64>(), Just(u64::MAX)]
}

/// Lists of extra fields. Half of them are empty, as for a record of format 1.
fn fields() -> impl Strategy<Value = Fields> {
    let field = (numbers(), vec(any::<u8>(), 0..40));
    vec(field, 0..4).prop_flat_map(|fields| {
        let some = Fields::new(fields.iter().map(|(tag, value)| (*tag, value.as_slice())));
        prop_oneof![Just(Fields::default()), Just(some)]
    })
}

/// Encoded records of both formats.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let data = text(false).prop_map(|bytes| {
        let stored = std::str::from_utf8(&bytes).ok().and_then(Data::stored);
        stored.flatten()
    });
    let names = ("\\PC{0,20}", "[0-9a-f:.]{0,39}");
    (names, vec(numbers(), 5), any::<bool>(), data, fields()).prop_map(
        |((id, ip), numbers, no_resave, data, fields)| {
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
                fields,
            })
        },
    )
}

#[test]
fn a_record_is_read_as_it_was_written() {
    hold("record", 1, records(), |bytes| {
        let stored = decode(bytes).expect("it was written");
        assert_eq!(bytes[0], stored.format().number());
        assert_eq!(bytes[0] == 1, stored.fields.is_empty());
        assert!(bytes.ends_with(stored.fields.as_bytes()));
        assert_eq!(encode(&stored), bytes);
        let again = Fields::new(stored.fields.iter());
        assert_eq!(again, stored.fields);
        assert_eq!(times(bytes), Ok((stored.record.last_active, stored.record.ttl)));
        // Numbers may be anything: arithmetic on them must not overflow.
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
fn a_damaged_record_is_read_or_refused() {
    hold("record-damaged", 1, damaged(damaged(records())), |bytes| {
        let Ok(stored) = decode(bytes) else { return };
        let written = encode(&stored);
        let again = decode(&written).expect("what was read can be written");
        assert_eq!(encode(&again), written);
        assert_eq!(again.fields, stored.fields);
    });
}

#[test]
fn arbitrary_bytes_are_read_or_refused() {
    let formats = prop_oneof![Just(1), Just(2), any::<u8>()];
    let bytes = (formats, vec(any::<u8>(), 0..80)).prop_map(|(format, rest)| [vec![format], rest].concat());
    hold("record-arbitrary", 1, bytes, |bytes| {
        let decoded = decode(bytes).map(|stored| encode(&stored));
        assert_eq!(bytes[0] > 2, decoded == Err(Unreadable::Newer));
        assert_eq!(bytes[0] > 2, times(bytes) == Err(Unreadable::Newer));
        let _ = Fields::decode(bytes).map(|fields| fields.iter().count());
    });
}

#[test]
fn extra_fields_keep_their_bytes() {
    let written = Fields::new([(1, &b"one"[..]), (300, b""), (1, b"again")]);
    assert_eq!(written.as_bytes(), b"\x01\x03one\xac\x02\x00\x01\x05again");
    // A longer encoding of a tag than this version would write.
    let odd = b"\x81\x00\x01x";
    let read = Fields::decode(odd).expect("a field");
    assert_eq!(read.iter().collect::<Vec<_>>(), [(1, &b"x"[..])]);
    assert_eq!(read.as_bytes(), odd);
    for cut in 1..odd.len() {
        assert_eq!(Fields::decode(&odd[..cut]), Err(Unreadable::Damaged));
    }
    assert_eq!(decode(&[]).err(), Some(Unreadable::Damaged));
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
fn a_damaged_index_entry_is_read_or_refused() {
    hold("index-damaged", 1, damaged(damaged(entries())), |entry| {
        let Some((key, value)) = parts(entry) else { return };
        let _ = trailing_token(key);
        if let Some(read) = activity(key, value) {
            assert_eq!(activity_key(&read.key, read.active), key);
        }
    });
}
