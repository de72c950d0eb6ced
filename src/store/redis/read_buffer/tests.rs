use crate::{
    session::{App, Token},
    store::{
        Key,
        redis::read_buffer::{
            buffer::ReadBuffer,
            entry::{BufferedReads, Entry},
        },
    },
};

/// A buffer with one read of each of `count` sessions, and the stripe that they are in.
fn buffered(count: usize) -> (ReadBuffer, usize) {
    let buffer = ReadBuffer::new(false, None);
    let keys = (0..count).map(|n| Key {
        app: App::parse("shop").unwrap(),
        token: Token::parse(&format!("AA{n:062}")).unwrap(),
    });
    let keys: Vec<_> = keys.collect();
    let stripe = buffer.place(&keys[0]);
    for key in keys {
        assert_eq!(buffer.place(&key), stripe);
        let entry = Entry {
            reads: 1,
            ..Entry::default()
        };
        buffer.stripes[stripe].lock().insert(key, entry);
    }
    (buffer, stripe)
}

fn tokens(batch: &[BufferedReads]) -> Vec<Token> {
    batch.iter().map(|reads| reads.key.token).collect()
}

#[test]
fn reads_are_taken_once_and_in_order() {
    let (buffer, stripe) = buffered(400);
    let keys = buffer.noted(stripe, |_| true);
    assert_eq!(keys.len(), 400);
    assert!(keys.is_sorted_by_key(|key| key.token));

    let (first, left) = buffer.take(stripe, &keys[..50]);
    assert!(tokens(&first).iter().eq(keys[..50].iter().map(|key| &key.token)));
    assert!(left.is_empty());
    // A second flush wants all of them while the first is in flight.
    let (rest, left) = buffer.take(stripe, &keys);
    assert!(tokens(&rest).iter().eq(keys[50..].iter().map(|key| &key.token)));
    assert!(left == keys[..50]);

    buffer.end(&first, false);
    buffer.end(&rest, true);
    assert!(buffer.noted(stripe, |_| true) == keys[..50]);
    let (again, left) = buffer.take(stripe, &keys);
    assert_eq!(tokens(&again), tokens(&first));
    assert!(left.is_empty());
}

#[test]
fn a_set_holds_off_the_flush_of_its_session() {
    let (buffer, stripe) = buffered(3);
    let keys = buffer.noted(stripe, |_| true);
    buffer.stripes[stripe].lock().get_mut(&keys[1]).unwrap().sets = 1;
    assert!(buffer.noted(stripe, |_| true) == [keys[0], keys[2]]);
    let (batch, left) = buffer.take(stripe, &keys);
    assert_eq!(tokens(&batch), [keys[0].token, keys[2].token]);
    assert!(left.is_empty());
}

#[test]
fn only_wanted_sessions_are_listed() {
    let (buffer, stripe) = buffered(3);
    let keys = buffer.noted(stripe, |_| true);
    assert!(buffer.noted(stripe, |key| *key == keys[1]) == keys[1..2]);
}
