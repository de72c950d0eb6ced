//! Tests of soid, in pages and as a stream, for ids with few sessions, with many, and with large ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::{Method, header};

use super::pages::{numbered, numbers};
use crate::support::{Answer, App, Server, Session, Store, for_every_store, side_by_side};

for_every_store![
    pages_of_few_sessions_add_up_to_the_whole_list,
    pages_of_many_sessions_add_up_to_the_whole_list,
    a_full_last_page_of_an_id_has_no_cursor,
    a_page_after_the_last_session_is_empty,
    a_list_of_large_sessions_is_streamed,
    a_cursor_is_refused_by_every_other_list,
    soid_lists_the_last_used_session_first,
    pages_of_an_id_leave_out_expired_sessions,
    pages_list_each_session_once_while_others_change,
    a_long_list_has_each_session_once_while_others_are_used,
];

/// Reads all pages of `limit` sessions of ann, and returns the numbers in each.
async fn pages(app: &App, limit: usize) -> Vec<Vec<u64>> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = app.page_of_id("ann", Some(limit), cursor.as_deref()).await;
        pages.push(numbers(&page));
        if next.is_none() {
            return pages;
        }
        cursor = next;
    }
}

/// Creates a session of ann for each number, eight at a time, with the number as `n`. Returns the tokens by number.
async fn create_numbered(app: &App, numbers: impl Iterator<Item = u64>) -> BTreeMap<u64, String> {
    let creates = numbers.map(|n| {
        let app = app.clone();
        async move { (n, app.create_with("ann", "", &format!(r#"{{"n":{n}}}"#)).await) }
    });
    side_by_side(8, creates).await.into_iter().collect()
}

fn last_active_first(sessions: &[Session]) -> bool {
    sessions.iter().map(|session| session.idle).is_sorted()
}

/// Checks that the pages of each limit add up to `whole`, and so do one page and the rest without a limit.
async fn assert_pages_match(app: &App, whole: &[u64], limits: &[usize]) {
    for limit in limits {
        let pages = pages(app, *limit).await;
        assert_eq!(pages.concat(), whole, "{limit}");
        let (last, full) = pages.split_last().expect("a page");
        assert!(full.iter().all(|page| page.len() == *limit), "{limit}: {pages:?}");
        assert!((1..=*limit).contains(&last.len()), "{limit}: {pages:?}");
    }
    // Without a limit, the answer has everything after the cursor.
    let (first, cursor) = app.page_of_id("ann", Some(4), None).await;
    let (rest, end) = app.page_of_id("ann", None, cursor.as_deref()).await;
    assert_eq!([numbers(&first), numbers(&rest)].concat(), whole);
    assert_eq!(end, None);
}

async fn pages_of_few_sessions_add_up_to_the_whole_list(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for n in 0..30 {
        app.create_with("ann", "", &format!(r#"{{"n":{n}}}"#)).await;
        app.create("ben").await;
        // Five sessions in each second.
        if n % 5 == 4 {
            server.advance(7);
        }
    }
    let whole = app.soid("ann").await;
    assert!(last_active_first(&whole));
    let whole = numbers(&whole);
    assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), 30);
    assert_pages_match(&app, &whole, &[1, 2, 7, 29, 30, 31, 1000, 2_147_483_647]).await;
}

async fn pages_of_many_sessions_add_up_to_the_whole_list(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for round in 0..7 {
        create_numbered(&app, (100 * round)..(100 * round + 100)).await;
        server.advance(3);
    }
    app.create("ben").await;
    let whole = app.soid("ann").await;
    assert!(last_active_first(&whole));
    let whole = numbers(&whole);
    assert_eq!((whole.len(), whole.iter().collect::<BTreeSet<_>>().len()), (700, 700));
    assert_pages_match(&app, &whole, &[97, 250, 699, 700, 701]).await;
}

async fn a_full_last_page_of_an_id_has_no_cursor(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    assert_eq!(app.page_of_id("ann", Some(1), None).await.1, None);
    numbered(&server, &app, 4, 0).await;
    let (_, cursor) = app.page_of_id("ann", Some(2), None).await;
    let (page, end) = app.page_of_id("ann", Some(2), cursor.as_deref()).await;
    assert_eq!((page.len(), end), (2, None));
}

async fn a_page_after_the_last_session_is_empty(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    numbered(&server, &app, 3, 1).await;
    let cursor = app.page_of_id("ann", Some(2), None).await.1;
    assert_eq!(app.killsoid("ann").await, 3);
    let (page, end) = app.page_of_id("ann", Some(2), cursor.as_deref()).await;
    assert_eq!((page.len(), end), (0, None));
}

async fn a_list_of_large_sessions_is_streamed(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let large = |n| format!(r#"{{"n":{n},"x":"{}"}}"#, "x".repeat(50_000));
    for n in 0..20 {
        app.create_with("ann", "", &large(n)).await;
        server.advance(n % 2);
    }
    let response = app.request(Method::GET, "/soid/ann").send().await.expect("an answer");
    assert!(response.headers().get(header::CONTENT_LENGTH).is_none());
    let whole = app.soid("ann").await;
    assert!(last_active_first(&whole));
    let data: BTreeSet<_> = whole.iter().map(|session| session.d().to_owned()).collect();
    assert_eq!(data, (0..20).map(large).collect());
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = app.page_of_id("ann", Some(3), cursor.as_deref()).await;
        paged.extend(page.into_iter().map(|session| session.d().to_owned()));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(paged.iter().eq(whole.iter().map(Session::d)));
}

async fn a_cursor_is_refused_by_every_other_list(store: Store) {
    let server = Server::start(store).await;
    let (app, other) = (server.app("forum"), server.app("shop"));
    for app in [&app, &other] {
        for id in ["ann", "ann", "ben", "ben"] {
            app.create(id).await;
        }
    }
    let of_ann = app.page_of_id("ann", Some(1), None).await.1.expect("one more");
    let of_app = app.page(60, Some(1), None).await.1.expect("more");
    app.page_of_id("ann", None, Some(&of_ann)).await;
    app.page(60, None, Some(&of_app)).await;
    let (of_id, of_soapp) = (
        "cursor must be one that soid has answered for this id",
        "cursor must be one that soapp has answered",
    );
    for (app, list, cursor, message) in [
        (&app, "soid/ben?", &of_ann, of_id),
        (&other, "soid/ann?", &of_ann, of_id),
        (&app, "soid/ann?", &of_app, of_id),
        (&app, "soapp?dt=60", &of_ann, of_soapp),
        (&other, "soapp?dt=60", &of_app, of_soapp),
        (&app, "soid/ann?", &of_ann[1..].to_owned(), of_id),
        (&app, "soid/ann?", &String::new(), of_id),
        (&app, "soid/ann?", &format!("{of_ann}&cursor={of_ann}"), of_id),
    ] {
        let answer = Answer::of(app.request(Method::GET, &format!("/{list}&cursor={cursor}"))).await;
        answer.refused(400, "invalidValue", message);
    }
    for limit in ["0", "-1", "ten", "2147483648", "", "1&limit=1"] {
        let answer = Answer::of(app.request(Method::GET, &format!("/soid/ann?limit={limit}"))).await;
        answer.refused(400, "invalidValue", "limit must be a positive integer");
    }
}

async fn soid_lists_the_last_used_session_first(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // More sessions than the store reads at once.
    let tokens = create_numbered(&app, 0..250).await;
    for n in [17, 3, 240] {
        server.advance(1);
        app.get(&tokens[&n]).await.expect("alive");
    }
    let (page, _) = app.page_of_id("ann", Some(3), None).await;
    assert_eq!(numbers(&page), [240, 3, 17]);
    assert_eq!(page.iter().map(|session| session.r).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(numbers(&app.soid("ann").await[..3]), [240, 3, 17]);
}

async fn pages_of_an_id_leave_out_expired_sessions(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let creates = (0..300).map(|n| {
        let (app, ttl) = (app.clone(), if n % 3 == 0 { "ttl=600" } else { "ttl=10" });
        async move { app.create_with("ann", ttl, &format!(r#"{{"n":{n}}}"#)).await }
    });
    side_by_side(8, creates).await;
    server.advance(20);
    let found: BTreeSet<_> = pages(&app, 30).await.concat().into_iter().collect();
    assert_eq!(found, (0..300).filter(|n| n % 3 == 0).collect());
    // 100 live sessions fill four pages of 25; there is no empty fifth page.
    assert_eq!(pages(&app, 25).await.len(), 4);
}

/// Between two pages, sessions of one third are read and sessions of another third are killed. The last third stays
/// unchanged.
async fn pages_list_each_session_once_while_others_change(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let mut tokens = BTreeMap::new();
    for round in 0..9 {
        tokens.extend(create_numbered(&app, (50 * round)..(50 * round + 50)).await);
        server.advance(2);
    }
    let group = |rest| (0..450_u64).filter(move |n| n % 3 == rest);
    let (mut used, mut killed) = (group(1).cycle(), group(2));
    let (mut seen, mut dead, mut cursor) = (BTreeMap::new(), BTreeSet::new(), None);
    loop {
        let (page, next) = app.page_of_id("ann", Some(40), cursor.as_deref()).await;
        for n in numbers(&page) {
            assert!(!dead.contains(&n), "{n} is listed although it was killed before");
            *seen.entry(n).or_insert(0) += 1;
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
        for n in used.by_ref().take(10).filter(|n| !dead.contains(n)) {
            app.get(&tokens[&n]).await.expect("alive");
        }
        for n in killed.by_ref().take(10) {
            assert_eq!(app.kill(&tokens[&n]).await, 1);
            dead.insert(n);
        }
        app.create_with("ann", "", r#"{"n":1000}"#).await;
        server.advance(1);
    }
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    assert!(group(0).all(|n| seen.contains_key(&n)), "{seen:?}");
}

/// Buffered reads are flushed throughout: a list that races with a flush must not restart for ever.
async fn a_long_list_has_each_session_once_while_others_are_used(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = Arc::new(create_numbered(&app, 0..450).await);
    let done = Arc::new(AtomicBool::new(false));
    let users = (0..4_u64).map(|user| {
        let (app, tokens, done) = (app.clone(), tokens.clone(), done.clone());
        tokio::spawn(async move {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                for n in (0..450).filter(|n| n % 2 == 1 && n / 2 % 4 == user) {
                    app.get(&tokens[&n]).await.expect("alive");
                }
                reads += 1;
            }
            reads
        })
    });
    let users: Vec<_> = users.collect();
    for _ in 0..10 {
        server.advance(1);
        let list = numbers(&app.soid("ann").await);
        assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len());
        assert_eq!(list.iter().filter(|n| *n % 2 == 0).count(), 225);
    }
    done.store(true, Ordering::Relaxed);
    let mut rounds = Vec::new();
    for user in users {
        rounds.push(user.await.expect("no panic"));
    }
    // Each get counts once.
    for session in app.soid("ann").await {
        let [n] = numbers(std::slice::from_ref(&session))[..] else {
            unreachable!("one session has one number")
        };
        let reads = if n % 2 == 1 { rounds[(n / 2 % 4) as usize] } else { 0 };
        assert_eq!(session.r, 1 + reads, "{n}");
    }
}
