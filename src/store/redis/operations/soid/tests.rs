use super::*;
use crate::{
    session::{App, UserId},
    store::list_window::WindowBudget,
};

fn searching() -> IdList {
    let mut list = IdList {
        app: App::parse("shop").unwrap(),
        id: UserId::parse("u").unwrap(),
        now: 0,
        after: None,
        wanted: usize::MAX,
        budget: WindowBudget::new(),
        progress: IdListProgress::Started,
    };
    list.progress = list.search();
    list
}

/// How many scans a list makes of a set with `members` members whose cursor never returns to 0.
async fn scans_of_endless_set(members: u64) -> u64 {
    let mut list = searching();
    let mut scans = 1;
    while list.add_scanned(Vec::new(), scans.to_string(), members).await.is_ok() {
        scans += 1;
        assert!(scans < 1_000_000, "the list never gives up");
    }
    scans
}

#[tokio::test]
async fn an_endless_scan_is_nonsense() {
    let few = scans_of_endless_set(200).await;
    // Ten thousand times as many as a full scan returns.
    assert!(few > 10_000, "{few}");
    assert!(scans_of_endless_set(10_000_000).await >= 10_000_000 / 100);
}

#[tokio::test]
async fn a_repeated_cursor_is_nonsense() {
    let mut list = searching();
    list.add_scanned(Vec::new(), "7".to_owned(), 5).await.unwrap();
    let repeated = list.add_scanned(Vec::new(), "7".to_owned(), 5).await;
    assert_eq!(repeated, Err(Error::Unavailable));
}

#[tokio::test]
async fn a_scan_may_take_long() {
    let mut list = searching();
    for scan in 1..5000 {
        list.add_scanned(Vec::new(), scan.to_string(), 200).await.unwrap();
    }
    list.add_scanned(Vec::new(), "0".to_owned(), 200).await.unwrap();
    assert!(matches!(list.progress, IdListProgress::Found(_)));
}
