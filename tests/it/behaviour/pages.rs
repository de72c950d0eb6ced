//! soapp in pages, and lists and kills of more sessions than fit into one batch.

use std::collections::BTreeSet;

use reqwest::{Method, header};

use crate::support::{App, Server, Session, Store, for_every_store, side_by_side};

for_every_store![
    pages_make_the_whole_list,
    a_full_last_page_is_the_last,
    a_cursor_holds_no_token,
    a_page_goes_on_where_the_one_before_ended,
    a_session_used_between_two_pages_is_not_listed_twice,
    pages_leave_out_what_has_expired,
    a_long_list_comes_in_pieces,
    one_id_may_have_very_many_sessions,
    an_app_may_have_very_many_sessions,
    many_long_lists_at_once_are_whole,
];

/// The places of sessions that were created with their number as `n`.
pub(super) fn numbers(sessions: &[Session]) -> Vec<u64> {
    let number = |session: &Session| {
        let text = session.d().trim_start_matches(r#"{"n":"#).trim_end_matches('}');
        text.parse().expect("a number")
    };
    sessions.iter().map(number).collect()
}

/// Creates sessions with the numbers from 0, so many seconds apart.
pub(super) async fn numbered(server: &Server, app: &App, count: u64, pause: u64) -> Vec<String> {
    let mut tokens = Vec::new();
    for n in 0..count {
        tokens.push(app.create_with("ann", "", &format!(r#"{{"n":{n}}}"#)).await);
        server.advance(pause);
    }
    tokens
}

/// All pages of so many sessions, each with what was in it.
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

async fn pages_make_the_whole_list(store: Store) {
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
    // Without a limit, all that follows.
    let (first, cursor) = app.page(600, Some(4), None).await;
    let (rest, end) = app.page(600, None, cursor.as_deref()).await;
    assert_eq!([numbers(&first), numbers(&rest)].concat(), whole);
    assert_eq!(end, None);
}

async fn a_full_last_page_is_the_last(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    assert_eq!(app.page(600, Some(1), None).await.1, None);
    numbered(&server, &app, 4, 0).await;
    let (_, cursor) = app.page(600, Some(2), None).await;
    let (page, end) = app.page(600, Some(2), cursor.as_deref()).await;
    assert_eq!((page.len(), end), (2, None));
}

async fn a_cursor_holds_no_token(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = numbered(&server, &app, 2, 0).await;
    let cursor = app.page(600, Some(1), None).await.1.expect("one more");
    let digits: Vec<u8> = (0..cursor.len() / 2)
        .map(|n| u8::from_str_radix(&cursor[2 * n..2 * n + 2], 16).expect("hexadecimal"))
        .collect();
    for token in tokens {
        for part in token.as_bytes().windows(11) {
            assert!(!digits.windows(11).any(|digits| digits == part), "{cursor}");
        }
    }
}

async fn a_page_goes_on_where_the_one_before_ended(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let tokens = numbered(&server, &app, 6, 3).await;
    let (page, cursor) = app.page(600, Some(2), None).await;
    assert_eq!(numbers(&page), [5, 4]);
    // The one at whose place it goes on, the next one, and one that is new.
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

async fn pages_leave_out_what_has_expired(store: Store) {
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

async fn a_long_list_comes_in_pieces(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // More than one batch, and some of them large.
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
    // In pages it is the same.
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

async fn one_id_may_have_very_many_sessions(store: Store) {
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

async fn an_app_may_have_very_many_sessions(store: Store) {
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

async fn many_long_lists_at_once_are_whole(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let creations: Vec<_> = (0..1000)
        .map(|n| {
            let app = app.clone();
            async move { app.create(&format!("user{n}")).await }
        })
        .collect();
    side_by_side(50, creations).await;
    // They take turns; each must get its own.
    let lists: Vec<_> = (0..20)
        .map(|_| {
            let app = app.clone();
            async move { assert_eq!(app.soapp(60).await.len(), 1000) }
        })
        .collect();
    side_by_side(20, lists).await;
}
