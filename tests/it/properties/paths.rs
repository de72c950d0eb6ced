//! Apps, ids and tokens in paths are accepted or refused as the contract says.

use proptest::{collection::vec, prelude::*, string::string_regex};

use super::{hold::hold, query_model::decode, router::TestRouter, texts::damaged};

const INVALID_APP: &str = "invalidFormat: Invalid app format";
const INVALID_ID: &str = "invalidFormat: Invalid id format";
const INVALID_TOKEN: &str = "invalidFormat: Invalid token format";

fn bad(message: &str) -> Result<(), (u16, String)> {
    Err((400, message.to_owned()))
}

fn is_app(text: &str) -> bool {
    (3..=20).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn is_id(text: &str) -> bool {
    let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    (1..=255).contains(&text.chars().count()) && !text.chars().any(breaks)
}

fn is_token(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// An app and an id or token, separated by a slash.
fn paths() -> impl Strategy<Value = Vec<u8>> {
    let app = prop_oneof![4 => Just("forum".to_owned()), 2 => "[a-zA-Z0-9_%-]{1,22}", 1 => "f%6[fF]ru(m|%6D)"];
    let piece = string_regex(
        "[!-~]|[a-zA-Z0-9:]{1,20}|[À-ÿ가-깃😀-😿]{1,3}|%[0-9a-fA-F]{2}|%C3%[89aA][0-9]|%E2%80%A[6-9]|%[0-9a-zA-Z%]",
    );
    let id = vec(piece.expect("an expression"), 0..8).prop_map(|pieces| pieces.concat());
    let long = (
        250..260usize,
        prop::sample::select(vec!["x", "%41", "é", "%F0%9F%98%80"]),
    );
    let long = long.prop_map(|(length, one)| one.repeat(length));
    let token = string_regex("[a-zA-Z0-9]{62,65}|[a-zA-Z0-9]{60}(%4[1-9a-f]){3,4}|[a-zA-Z0-9]{63}[-é%]")
        .expect("an expression");
    let name = prop_oneof![5 => id.boxed(), 1 => long.boxed(), 3 => token.boxed()];
    damaged((app, name).prop_map(|(app, name)| format!("{app}/{name}").into_bytes()))
}

#[test]
fn names_in_paths_follow_the_contract() {
    let router = TestRouter::new();
    hold("path", 2, paths(), |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let Some((app, name)) = text.split_once('/') else {
            return;
        };
        if app.is_empty() || name.is_empty() || text.contains(['?', '#']) || name.contains('/') {
            return;
        }
        let good_app = decode(app, false).is_some_and(|app| is_app(&app));
        let id = decode(name, false).filter(|id| is_id(id));
        let expected = if !good_app {
            bad(INVALID_APP)
        } else if id.is_none() {
            bad(INVALID_ID)
        } else {
            Ok(())
        };
        let Some(listed) = router.ask("GET", &format!("/{app}/soid/{name}"), "", "") else {
            return;
        };
        assert_eq!(listed.map(drop), expected);

        let token = decode(name, false).is_some_and(|token| is_token(&token));
        let expected = if !good_app {
            bad(INVALID_APP)
        } else if !token {
            bad(INVALID_TOKEN)
        } else {
            Ok(())
        };
        let got = router
            .ask("GET", &format!("/{app}/get/{name}"), "", "")
            .expect("as before");
        assert_eq!(
            got.as_ref()
                .map(|(_, body)| assert_eq!(body, "{}"))
                .map_err(Clone::clone),
            expected
        );

        if let Some(id) = id.filter(|_| good_app) {
            let created = router
                .ask("PUT", &format!("/{app}/create/{name}?ip=1"), "", "")
                .expect("as before");
            created.expect("a session");
            assert_eq!(router.session(app, name).id, id);
            let killed = router
                .ask("DELETE", &format!("/{app}/killsoid/{name}"), "", "")
                .expect("as before");
            assert_eq!(killed.expect("a count").1, r#"{"kill":1}"#);
        }
    });
}
