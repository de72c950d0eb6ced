use super::{Note, Pending, Touch};
use crate::{
    session::{App, Token},
    store::Key,
};

/// What is noted of so many sessions of one shard, and which one that is.
fn noted(count: usize) -> (Pending, usize) {
    let pending = Pending::new(false, None);
    let keys = (0..count).map(|n| Key {
        app: App::parse("shop").unwrap(),
        token: Token::parse(&format!("AA{n:062}")).unwrap(),
    });
    let keys: Vec<_> = keys.collect();
    let shard = pending.place(&keys[0]);
    for key in keys {
        assert_eq!(pending.place(&key), shard);
        let note = Note {
            reads: 1,
            ..Note::default()
        };
        pending.shards[shard].lock().insert(key, note);
    }
    (pending, shard)
}

fn tokens(batch: &[Touch]) -> Vec<Token> {
    batch.iter().map(|touch| touch.key.token).collect()
}

#[test]
fn what_is_noted_is_taken_once_and_in_order() {
    let (pending, shard) = noted(400);
    let keys = pending.noted(shard, |_| true);
    assert_eq!(keys.len(), 400);
    assert!(keys.is_sorted_by_key(|key| key.token));

    let (first, left) = pending.take(shard, &keys[..50]);
    assert!(tokens(&first).iter().eq(keys[..50].iter().map(|key| &key.token)));
    assert!(left.is_empty());
    // Somebody else wants all of them meanwhile.
    let (rest, left) = pending.take(shard, &keys);
    assert!(tokens(&rest).iter().eq(keys[50..].iter().map(|key| &key.token)));
    assert!(left == keys[..50]);

    pending.end(&first, false);
    pending.end(&rest, true);
    assert!(pending.noted(shard, |_| true) == keys[..50]);
    let (again, left) = pending.take(shard, &keys);
    assert_eq!(tokens(&again), tokens(&first));
    assert!(left.is_empty());
}

#[test]
fn a_set_keeps_its_session_out() {
    let (pending, shard) = noted(3);
    let keys = pending.noted(shard, |_| true);
    pending.shards[shard].lock().get_mut(&keys[1]).unwrap().sets = 1;
    assert!(pending.noted(shard, |_| true) == [keys[0], keys[2]]);
    let (batch, left) = pending.take(shard, &keys);
    assert_eq!(tokens(&batch), [keys[0].token, keys[2].token]);
    assert!(left.is_empty());
}

#[test]
fn only_what_is_wanted_is_noted() {
    let (pending, shard) = noted(3);
    let keys = pending.noted(shard, |_| true);
    assert!(pending.noted(shard, |key| *key == keys[1]) == keys[1..2]);
}
