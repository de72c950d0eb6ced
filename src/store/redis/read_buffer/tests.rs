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

/// What is noted of so many sessions of one shard, and which one that is.
fn noted(count: usize) -> (ReadBuffer, usize) {
    let buffer = ReadBuffer::new(false, None);
    let keys = (0..count).map(|n| Key {
        app: App::parse("shop").unwrap(),
        token: Token::parse(&format!("AA{n:062}")).unwrap(),
    });
    let keys: Vec<_> = keys.collect();
    let shard = buffer.place(&keys[0]);
    for key in keys {
        assert_eq!(buffer.place(&key), shard);
        let entry = Entry {
            reads: 1,
            ..Entry::default()
        };
        buffer.shards[shard].lock().insert(key, entry);
    }
    (buffer, shard)
}

fn tokens(batch: &[BufferedReads]) -> Vec<Token> {
    batch.iter().map(|touch| touch.key.token).collect()
}

#[test]
fn what_is_noted_is_taken_once_and_in_order() {
    let (buffer, shard) = noted(400);
    let keys = buffer.noted(shard, |_| true);
    assert_eq!(keys.len(), 400);
    assert!(keys.is_sorted_by_key(|key| key.token));

    let (first, left) = buffer.take(shard, &keys[..50]);
    assert!(tokens(&first).iter().eq(keys[..50].iter().map(|key| &key.token)));
    assert!(left.is_empty());
    // Somebody else wants all of them meanwhile.
    let (rest, left) = buffer.take(shard, &keys);
    assert!(tokens(&rest).iter().eq(keys[50..].iter().map(|key| &key.token)));
    assert!(left == keys[..50]);

    buffer.end(&first, false);
    buffer.end(&rest, true);
    assert!(buffer.noted(shard, |_| true) == keys[..50]);
    let (again, left) = buffer.take(shard, &keys);
    assert_eq!(tokens(&again), tokens(&first));
    assert!(left.is_empty());
}

#[test]
fn a_set_keeps_its_session_out() {
    let (buffer, shard) = noted(3);
    let keys = buffer.noted(shard, |_| true);
    buffer.shards[shard].lock().get_mut(&keys[1]).unwrap().sets = 1;
    assert!(buffer.noted(shard, |_| true) == [keys[0], keys[2]]);
    let (batch, left) = buffer.take(shard, &keys);
    assert_eq!(tokens(&batch), [keys[0].token, keys[2].token]);
    assert!(left.is_empty());
}

#[test]
fn only_what_is_wanted_is_noted() {
    let (buffer, shard) = noted(3);
    let keys = buffer.noted(shard, |_| true);
    assert!(buffer.noted(shard, |key| *key == keys[1]) == keys[1..2]);
}
