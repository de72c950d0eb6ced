use super::*;

fn searching() -> OfId {
    let mut list = OfId {
        app: App::parse("shop").unwrap(),
        id: UserId::parse("u").unwrap(),
        now: 0,
        after: None,
        wanted: usize::MAX,
        budget: WindowBudget::new(),
        state: State::Begun,
    };
    list.state = list.search();
    list
}

/// How many looks a list takes at a set of so many members that never ends.
async fn looks(members: u64) -> u64 {
    let mut list = searching();
    let mut looks = 1;
    while list.seen(Vec::new(), looks.to_string(), members).await.is_ok() {
        looks += 1;
        assert!(looks < 1_000_000, "it goes on for ever");
    }
    looks
}

#[tokio::test]
async fn a_set_that_never_ends_is_nonsense() {
    let few = looks(200).await;
    // Ten thousand times as many as a look finds, if each is full.
    assert!(few > 10_000, "{few}");
    assert!(looks(10_000_000).await >= 10_000_000 / 100);
}

#[tokio::test]
async fn a_set_that_stands_still_is_nonsense() {
    let mut list = searching();
    list.seen(Vec::new(), "7".to_owned(), 5).await.unwrap();
    let still = list.seen(Vec::new(), "7".to_owned(), 5).await;
    assert_eq!(still, Err(Error::Unavailable));
}

#[tokio::test]
async fn a_set_may_end_late() {
    let mut list = searching();
    for look in 1..5000 {
        list.seen(Vec::new(), look.to_string(), 200).await.unwrap();
    }
    list.seen(Vec::new(), "0".to_owned(), 200).await.unwrap();
    assert!(matches!(list.state, State::Found(_)));
}
