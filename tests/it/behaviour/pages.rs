//! Tests of soapp in pages, and of lists and kills of more sessions than fit into one batch.

use std::collections::BTreeSet;

use reqwest::{Method, header};

use crate::support::{App, Server, Session, Store, for_every_store, side_by_side};

for_every_store![
    pages_add_up_to_the_whole_list,
    a_full_last_page_has_no_cursor,
    a_cursor_contains_no_token,
    a_page_starts_where_the_previous_page_ended,
    a_session_used_between_two_pages_is_not_listed_twice,
    pages_leave_out_expired_sessions,
    a_long_list_is_streamed,
    soid_and_killsoid_handle_1200_sessions_of_one_id,
    killall_removes_1200_sessions_of_500_ids,
    concurrent_long_lists_are_complete,
];

/// The values of `n` in the sessions' `d`: the numbers that [`numbered`] gave them.
pub(super) fn numbers(sessions: &[Session]) -> Vec<u64> {
    let number = |session: &Session| {
        let text = session.d().trim_start_matches(r#"{"n":"#).trim_end_matches('}');
        text.parse().expect("a number")
    };
    sessions.iter().map(number).collect()
}

/// Creates `count` sessions, numbered from 0 and `pause` seconds apart, and returns their tokens.
pub(super) async fn numbered(server: &Server, app: &App, count: u64, pause: u64) -> Vec<String> {
    let mut tokens = Vec::new();
    for n in 0..count {
        tokens.push(app.create_with("ann", "", &format!(r#"{{"n":{n}}}"#)).await);
        server.advance(pause);
    }
    tokens
}

/// Reads all pages of `limit` sessions, and returns the numbers in each.
async fn pages(app: &App, limit: usize) -> Vec<Vec<u64>> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = app.page(600, Some(limit), cursor.as_deref()).await;
        pages.push(numbers(&page));
        if next.is_none() {
            return pages;
        }
        cursor = next;
    }
}

async fn pages_add_up_to_the_whole_list(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for n in 0..30 {
        app.create_with(&format!("id {}", n % 20), "", &format!(r#"{{"n":{n}}}"#))
            .await;
        // Five sessions in each second.
        if n % 5 == 4 {
            server.advance(7);
        }
    }
    let whole = numbers(&app.soapp(600).await);
    assert_eq!(whole.len(), 30);
    for limit in [1, 2, 3, 7, 29, 30, 31, 1000] {
        let pages = pages(&app, limit).await;
        assert_eq!(pages.concat(), whole, "{limit}");
        let (last, full) = pages.split_last().expect("a page");
        assert!(full.iter().all(|page| page.len() == limit), "{limit}: {pages:?}");
        assert!((1..=limit).contains(&last.len()), "{limit}: {pages:?}");
    }
    // Without a limit, the answer has everything after the cursor.
    let (first, cursor) = app.page(600, Some(4), None).await;
    let (rest, end) = app.page(600, None, cursor.as_deref()).await;
    assert_eq!([numbers(&first), numbers(&rest)].concat(), whole);
    assert_eq!(end, None);
}

async fn a_full_last_page_has_no_cursor(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    assert_eq!(app.page(600, Some(1), None).await.1, None);
    numbered(&server, &app, 4, 0).await;
    let (_, cursor) = app.page(600, Some(2), None).await;
    let (page, end) = app.page(600, Some(2), cursor.as_deref()).await;
    assert_eq!((page.len(), end), (2, None));
}

async fn a_cursor_contains_no_token(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = numbered(&server, &app, 2, 0).await;
    let cursor = app.page(600, Some(1), None).await.1.expect("one more");
    let bytes: Vec<u8> = (0..cursor.len() / 2)
        .map(|n| u8::from_str_radix(&cursor[2 * n..2 * n + 2], 16).expect("hexadecimal"))
        .collect();
    for token in tokens {
        for part in token.as_bytes().windows(11) {
            assert!(!bytes.windows(11).any(|bytes| bytes == part), "{cursor}");
        }
    }
}

async fn a_page_starts_where_the_previous_page_ended(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = numbered(&server, &app, 6, 3).await;
    let (page, cursor) = app.page(600, Some(2), None).await;
    assert_eq!(numbers(&page), [5, 4]);
    // Kill the session at which the cursor points and the next one, and create a new session.
    assert_eq!(app.kill(&tokens[4]).await, 1);
    assert_eq!(app.kill(&tokens[3]).await, 1);
    app.create_with("ann", "", r#"{"n":6}"#).await;
    let (page, cursor) = app.page(600, Some(2), cursor.as_deref()).await;
    assert_eq!(numbers(&page), [2, 1]);
    let (page, cursor) = app.page(600, Some(2), cursor.as_deref()).await;
    assert_eq!((numbers(&page), cursor), (vec![0], None));
}

async fn a_session_used_between_two_pages_is_not_listed_twice(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = numbered(&server, &app, 6, 1).await;
    let (page, cursor) = app.page(600, Some(3), None).await;
    assert_eq!(numbers(&page), [5, 4, 3]);
    for listed in [4, 5, 3] {
        app.get(&tokens[listed]).await.expect("alive");
        server.advance(1);
    }
    let (page, end) = app.page(600, Some(5), cursor.as_deref()).await;
    assert_eq!((numbers(&page), end), (vec![2, 1, 0], None));
}

async fn pages_leave_out_expired_sessions(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    for n in 0..12 {
        let ttl = if n % 3 == 0 { "ttl=600" } else { "ttl=10" };
        app.create_with("ann", ttl, &format!(r#"{{"n":{n}}}"#)).await;
        server.advance(1);
    }
    server.advance(20);
    assert_eq!(pages(&app, 1).await, [[9], [6], [3], [0]]);
    assert_eq!(pages(&app, 2).await, [[9, 6], [3, 0]]);
    assert_eq!(app.page(600, Some(4), None).await.1, None);
}

async fn a_long_list_is_streamed(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // More sessions than fit into one batch, some of them large.
    let creates = (0..1200).map(|n| {
        let (app, long) = (app.clone(), if n % 100 == 0 { 50_000 } else { 10 });
        async move {
            let d = format!(r#"{{"x":"{}"}}"#, "x".repeat(long));
            app.create_with(&format!("id {n}"), "", &d).await
        }
    });
    side_by_side(8, creates).await;
    let request = app.request(Method::GET, "/soapp?dt=600");
    let response = request.send().await.expect("an answer");
    assert!(response.headers().get(header::CONTENT_LENGTH).is_none());
    let ids = |sessions: &[Session]| sessions.iter().map(|session| session.id.clone()).collect::<Vec<_>>();
    let whole = ids(&app.soapp(600).await);
    assert_eq!((whole.len(), whole.iter().collect::<BTreeSet<_>>().len()), (1200, 1200));
    // The pages add up to the same list.
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = app.page(600, Some(501), cursor.as_deref()).await;
        paged.extend(page);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(ids(&paged), whole);
}

async fn soid_and_killsoid_handle_1200_sessions_of_one_id(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    create_many(&app, |_| "ann".to_owned()).await;
    app.create("bob").await;
    assert_eq!(app.soid("ann").await.len(), 1200);
    assert_eq!(app.killsoid("ann").await, 1200);
    assert_eq!(app.killsoid("ann").await, 0);
    assert!(app.soid("ann").await.is_empty());
    assert_eq!(app.soapp(600).await.len(), 1);
    assert_eq!(app.activity(600).await, 1);
    assert_eq!(app.killall().await, 1);
}

async fn killall_removes_1200_sessions_of_500_ids(store: Store) {
    let server = Server::start(store).await;
    let (app, other) = (server.app("forum"), server.app("shop"));
    other.create("ann").await;
    create_many(&app, |n| format!("id {}", n % 500)).await;
    assert_eq!(app.activity(600).await, 500);
    assert_eq!(app.killall().await, 1200);
    assert_eq!(app.killall().await, 0);
    assert!(app.soapp(600).await.is_empty());
    assert_eq!((app.activity(600).await, other.activity(600).await), (0, 1));
}

/// Creates 1,200 sessions.
async fn create_many(app: &App, id: impl Fn(u64) -> String) {
    let create = |n| {
        let (app, id) = (app.clone(), id(n));
        async move { app.create(&id).await }
    };
    side_by_side(8, (0..1200).map(create)).await;
}

async fn concurrent_long_lists_are_complete(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let creations: Vec<_> = (0..1000)
        .map(|n| {
            let app = app.clone();
            async move { app.create(&format!("user{n}")).await }
        })
        .collect();
    side_by_side(50, creations).await;
    // The lists run concurrently; each must be complete.
    let lists: Vec<_> = (0..20)
        .map(|_| {
            let app = app.clone();
            async move { assert_eq!(app.soapp(60).await.len(), 1000) }
        })
        .collect();
    side_by_side(20, lists).await;
}
