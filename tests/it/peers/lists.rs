//! Service and peer return the same lists and counts.

use super::{New, Pair, Version, for_every_peer, side::Side};
use crate::support::Session;

for_every_peer![
    each_lists_the_sessions_of_both,
    each_counts_the_ids_of_both,
    reads_and_writes_of_one_side_reorder_the_lists_of_the_other,
];

/// The `d` of each session, which identifies it, in the order of the list.
fn data(sessions: &[Session]) -> Vec<&str> {
    sessions.iter().map(Session::d).collect()
}

/// The same, sorted, for lists without a defined order.
fn sorted(sessions: &[Session]) -> Vec<&str> {
    let mut data = data(sessions);
    data.sort_unstable();
    data
}

async fn create(side: &Side, id: &str, n: usize) -> String {
    let d = format!(r#"{{"n":{n}}}"#);
    side.create(New { d: &d, ..New::of(id) }).await
}

async fn each_lists_the_sessions_of_both(version: Version) {
    let pair = Pair::start(version).await;
    let Pair { service, peer, .. } = &pair;
    for (n, (side, id)) in [
        (service, "ann"),
        (peer, "ann"),
        (peer, "bob"),
        (service, "bob"),
        (peer, "ann"),
    ]
    .into_iter()
    .enumerate()
    {
        create(side, id, n).await;
        pair.advance(10);
    }
    for side in [service, peer] {
        assert_eq!(
            sorted(&side.soid("ann").await),
            [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":4}"#]
        );
        assert_eq!(sorted(&side.soid("bob").await), [r#"{"n":2}"#, r#"{"n":3}"#]);
        assert_eq!(side.soid("unknown").await.len(), 0);
        let all = [r#"{"n":4}"#, r#"{"n":3}"#, r#"{"n":2}"#, r#"{"n":1}"#, r#"{"n":0}"#];
        assert_eq!(data(&side.soapp(50).await), all);
        assert_eq!(data(&side.soapp(30).await), all[..3]);
        let session = side.soapp(10).await.pop().expect("the last one");
        assert_eq!(
            (session.id.as_str(), session.r, session.w, session.idle),
            ("ann", 1, 1, 10)
        );
    }
    assert_eq!(peer.killall().await, 5);
    pair.assert_no_keys_left();
}

async fn each_counts_the_ids_of_both(version: Version) {
    let pair = Pair::start(version).await;
    let Pair { service, peer, .. } = &pair;
    for (side, id) in [(service, "ann"), (peer, "ann"), (peer, "bob"), (service, "carl")] {
        create(side, id, 0).await;
        pair.advance(10);
    }
    for side in [service, peer] {
        assert_eq!(side.activity(10).await, 1);
        assert_eq!(side.activity(20).await, 2);
        assert_eq!(side.activity(40).await, 3);
    }
    assert_eq!(peer.killsoid("ann").await, 2);
    assert_eq!(service.killsoid("bob").await, 1);
    for side in [service, peer] {
        assert_eq!(side.activity(40).await, 1);
    }
    assert_eq!(peer.killsoid("carl").await, 1);
    pair.assert_no_keys_left();
}

async fn reads_and_writes_of_one_side_reorder_the_lists_of_the_other(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let read = create(maker, "ann", 0).await;
        let written = create(maker, "bob", 1).await;
        pair.advance(20);
        user.get(&read).await.expect("alive");
        assert_eq!(data(&maker.soapp(10).await), [r#"{"n":0}"#]);
        assert_eq!(maker.activity(10).await, 1);
        pair.advance(5);
        user.set(&written, r#"{"m":2}"#).await.expect("alive");
        assert_eq!(data(&maker.soapp(10).await), [r#"{"n":1,"m":2}"#, r#"{"n":0}"#]);
        assert_eq!(maker.activity(10).await, 2);
        assert_eq!(user.killall().await, 2);
    }
    pair.assert_no_keys_left();
}
