//! Paths and queries, as whole requests to the route table: what is answered is what the contract says.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Uri},
};
use proptest::{collection::vec, prelude::*, string::string_regex};
use rest_sessions::{
    clock::Clock,
    http::{AppState, router},
    observability::metrics::Metrics,
    service::Service,
    store::{Backend, Store, embedded::Embedded},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower_service::Service as _;

use super::{hold::hold, texts::damaged};
use crate::support::{NO_TOKEN, Session, json};

const INVALID_APP: &str = "invalidFormat: Invalid app format";
const INVALID_ID: &str = "invalidFormat: Invalid id format";
const INVALID_TOKEN: &str = "invalidFormat: Invalid token format";

/// The route table on an embedded store.
struct World {
    router: Router,
    runtime: Runtime,
    _folder: TempDir,
}

/// Success with what was answered, or the status, name and message of an error.
type Answer = Result<(HeaderMap, String), (u16, String)>;

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let metrics = Arc::new(Metrics::new());
        let patience = Duration::from_secs(30);
        let store = Embedded::open(&folder.path().join("data"), 16 << 20, patience, metrics.clone()).expect("a store");
        let store = Store::new(Backend::Embedded(store), patience, metrics.clone());
        let clock = Clock::Manual(Arc::new(AtomicU64::new(1_800_000_000)));
        let service = Arc::new(Service::new(store, clock, metrics.clone()));
        let state = AppState::new(service, metrics, patience, "session");
        Self {
            router: router::table().with_state(state),
            runtime,
            _folder: folder,
        }
    }

    /// Asks; `None` if no server could read such a request.
    fn ask(&self, method: &str, target: &str, token: &str, body: &str) -> Option<Answer> {
        let uri: Uri = target.parse().ok()?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("x-session-token", token);
        let request = request.body(Body::from(body.to_owned())).ok()?;
        self.runtime.block_on(async {
            let response = self
                .router
                .clone()
                .call(request)
                .await
                .unwrap_or_else(|never| match never {});
            let (head, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a body");
            let body = String::from_utf8(body.to_vec()).expect("a text");
            assert_ne!(head.status.as_u16(), 500, "{target}");
            if head.status.is_success() {
                return Some(Ok((head.headers, body)));
            }
            let error = json(&body);
            let part = |name: &str| error[name].as_str().expect("a text").to_owned();
            Some(Err((
                head.status.as_u16(),
                format!("{}: {}", part("name"), part("message")),
            )))
        })
    }

    fn create(&self, body: &str) -> String {
        let answer = self
            .ask("PUT", "/forum/create/ann?ip=10.0.0.1", "", body)
            .expect("a request");
        let (_, body) = answer.expect("a session");
        json(&body)["token"].as_str().expect("a token").to_owned()
    }

    /// The only session of an id, in whichever form its path has it.
    fn session(&self, app: &str, id: &str) -> Session {
        let (_, list) = self
            .ask("GET", &format!("/{app}/soid/{id}"), "", "")
            .expect("a request")
            .expect("a list");
        let list = list
            .strip_prefix(r#"{"sessions":["#)
            .and_then(|rest| rest.strip_suffix("]}"))
            .expect("a list");
        Session::parse(list).expect("a session")
    }
}

fn bad(message: &str) -> Result<(), (u16, String)> {
    Err((400, message.to_owned()))
}

/// Takes the escapes out of a part of a path, or of a query where `+` is a space; `None` if that makes no text.
fn decode(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
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

/// What is stored of an ip; `None` if it is none.
fn ip(text: &str) -> Option<String> {
    let zoned = |text: &str| {
        let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
        let odd = zone.is_empty() || zone.chars().count() > 64 || zone.contains(['[', ']', '%', '/']);
        !odd && address.parse::<std::net::Ipv6Addr>().is_ok()
    };
    let mut ip = text;
    for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
        let (address, port) = text.split_at(end);
        let port_is_good = |port: &str| !port.is_empty() && span_of_digits(port) && port.parse::<u16>().is_ok();
        let with_port = port.strip_prefix(':').is_some_and(port_is_good);
        let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match inside {
            Some(inside) if zoned(inside) && (port.is_empty() || with_port) => ip = inside,
            None if with_port && address.parse::<std::net::Ipv4Addr>().is_ok() => ip = address,
            _ => {}
        }
    }
    let fits = ip.chars().count() <= 39 || ip.parse::<IpAddr>().is_ok() || zoned(ip);
    (fits && !ip.chars().any(char::is_control)).then(|| ip.to_owned())
}

fn span_of_digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit())
}

fn span(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let seconds = text.trim_start_matches('0');
    (digits && seconds.len() <= 10)
        .then(|| seconds.parse().unwrap_or(0))
        .filter(|seconds| (10..=2_147_483_647).contains(seconds))
}

/// An app and a name, with a slash between them.
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
fn names_in_a_path_are_taken_as_the_contract_says() {
    let world = World::new();
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
        let Some(listed) = world.ask("GET", &format!("/{app}/soid/{name}"), "", "") else {
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
        let got = world
            .ask("GET", &format!("/{app}/get/{name}"), "", "")
            .expect("as before");
        assert_eq!(
            got.as_ref()
                .map(|(_, body)| assert_eq!(body, "{}"))
                .map_err(Clone::clone),
            expected
        );

        if let Some(id) = id.filter(|_| good_app) {
            let created = world
                .ask("PUT", &format!("/{app}/create/{name}?ip=1"), "", "")
                .expect("as before");
            created.expect("a session");
            assert_eq!(world.session(app, name).id, id);
            let killed = world
                .ask("DELETE", &format!("/{app}/killsoid/{name}"), "", "")
                .expect("as before");
            assert_eq!(killed.expect("a count").1, r#"{"kill":1}"#);
        }
    });
}

/// Values of one parameter: `None` where it cannot be right, as it is not decodable or there are several.
fn values(query: &str, name: &str) -> Vec<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let ours = pairs.filter(|(key, _)| decode(key, true).is_some_and(|key| key == name));
    ours.map(|(_, value)| value.to_owned()).collect()
}

/// The one value of a parameter, empty if it is absent; `Err` where no value can be right.
fn one(query: &str, name: &str) -> Result<Option<String>, ()> {
    match &values(query, name)[..] {
        [] => Ok(None),
        [value] => decode(value, true).map(Some).ok_or(()),
        _ => Err(()),
    }
}

/// What a create takes from its query: `ip`, `ttl`, `no_resave`.
fn create(query: &str) -> Result<(String, u64, bool), String> {
    let ip = match one(query, "ip") {
        Ok(Some(text)) if !text.is_empty() => ip(&text).ok_or("invalidFormat: Invalid ip format")?,
        Ok(_) => return Err("missingParameter: No ip supplied".into()),
        Err(()) => return Err("invalidFormat: Invalid ip format".into()),
    };
    let ttl = match one(query, "ttl") {
        Ok(None) => Some(7200),
        Ok(Some(text)) if text.is_empty() => Some(7200),
        Ok(Some(text)) => span(&text),
        Err(()) => None,
    };
    let ttl = ttl.ok_or("invalidValue: ttl must be a positive integer >= 10")?;
    let fixed = one(query, "no_resave").map_err(|()| "invalidValue: no_resave must be given once")?;
    Ok((ip, ttl, fixed.is_some_and(|text| text == "true" || text == "1")))
}

/// What a set takes from its query.
fn unset(query: &str) -> Result<Vec<String>, String> {
    let keys = values(query, "unset").into_iter().filter(|key| !key.is_empty());
    let keys: Option<Vec<_>> = keys.map(|key| decode(&key, true)).collect();
    let keys = keys.ok_or("invalidValue: unset must be a key of d")?;
    if keys.is_empty() {
        Err("invalidValue: d must contain at least one key.".into())
    } else {
        Ok(keys)
    }
}

/// What auth takes from its query: the keys that are wanted.
fn wanted(query: &str) -> Result<Vec<String>, String> {
    let text = one(query, "d").map_or_else(|()| "?".into(), Option::unwrap_or_default);
    let keys: Vec<_> = text
        .split(',')
        .filter(|key| !key.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    let good = |key: &String| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if let Some(first) = keys.iter().enumerate().find_map(|(place, key)| {
        let twin = |other: &String| other != key && other.eq_ignore_ascii_case(key);
        let wrong = "invalidValue: d must be keys of A-Z a-z 0-9 _ - with commas between them";
        let twins = "invalidValue: d must not have keys that differ in case only";
        if !good(key) {
            Some(wrong)
        } else if keys[..place].iter().any(twin) {
            Some(twins)
        } else {
            None
        }
    }) {
        return Err(first.into());
    }
    match one(query, "touch") {
        Ok(None) => Ok(keys),
        Ok(Some(text)) if ["", "0", "1"].contains(&&*text) => Ok(keys),
        _ => Err("invalidValue: touch must be 0 or 1".into()),
    }
}

fn queries() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![
        "ip",
        "ttl",
        "dt",
        "no_resave",
        "unset",
        "d",
        "touch",
        "%69p",
        "+ip",
        "IP",
        "x",
        "",
    ]);
    let value = prop_oneof![
        4 => prop::sample::select(vec![
            "10.0.0.1", "::1", "", "10", "9", "7200", "2147483647", "2147483648", "000000000000000000000010",
            "12abc", "+10", "1e2", "-1", "%31%30", "true", "1", "0", "a", "b", "c%20d", "c+d", "a,b", "a,A", "role,,n",
            "%C3%A9", "%00", "%zz", "%",
            "2001:0db8:0000:0000:0000:0000:255.255.255.255", "%E2%80%A8", "10.0.0.1:80", "%5B::1%5D:80", "[::1]:65536",
            "fe80::1%25eth0", "[fe80::1%25eth0]",
        ]).prop_map(ToOwned::to_owned).boxed(),
        1 => string_regex("[!-~é]{0,45}|[0-9]{1,25}").expect("an expression").boxed(),
    ];
    let pair = (key, value, 0..8u8).prop_map(|(key, value, bare)| {
        if bare == 0 {
            key.into()
        } else {
            format!("{key}={value}")
        }
    });
    let query = (
        prop::sample::select(vec!["", "ip=10.0.0.1", "ip=::1&ttl=60"]),
        vec(pair, 0..5),
    );
    damaged(query.prop_map(|(first, mut pairs)| {
        pairs.insert(0, first.into());
        pairs.join("&").into_bytes()
    }))
}

#[test]
fn queries_are_taken_as_the_contract_says() {
    const DATA: &str = r#"{"a":1,"b":"x y","c d":true,"é":"é","role":"\u00e9"}"#;
    let world = World::new();
    let reader = world.create(DATA);
    let refused = |why: String| (400, why);
    hold("query", 2, queries(), |input| {
        let Ok(query) = std::str::from_utf8(input) else { return };
        if query.contains('#') {
            return;
        }
        let Some(created) = world.ask("PUT", &format!("/forum/create/carl?{query}"), "", "") else {
            return;
        };
        match create(query) {
            Ok((ip, ttl, fixed)) => {
                created.expect("a session");
                let session = world.session("forum", "carl");
                assert_eq!((session.ip, session.ttl, session.no_resave), (ip, ttl, fixed));
                world
                    .ask("DELETE", "/forum/killsoid/carl", "", "")
                    .expect("a request")
                    .expect("a count");
            }
            Err(why) => assert_eq!(created.map(drop), Err(refused(why))),
        }

        let dt = one(query, "dt").ok().flatten().and_then(|text| span(&text));
        let expected = dt
            .map(drop)
            .ok_or_else(|| refused("invalidValue: dt must be a positive integer >= 10".into()));
        for route in ["activity", "soapp"] {
            let answer = world
                .ask("GET", &format!("/forum/{route}?{query}"), "", "")
                .expect("as before");
            assert_eq!(answer.map(drop), expected, "{route}");
        }

        let expected = unset(query);
        let nobody = world
            .ask("POST", &format!("/forum/set/{NO_TOKEN}?{query}"), "", "")
            .expect("as before");
        assert_eq!(
            nobody.map(|(_, body)| assert_eq!(body, "{}")),
            expected.clone().map(drop).map_err(refused)
        );
        if let Ok(keys) = expected {
            let token = world.create(DATA);
            let answer = world
                .ask("POST", &format!("/forum/set/{token}?{query}"), "", "{}")
                .expect("as before");
            let (_, answer) = answer.expect("a session");
            let mut left = json(DATA);
            left.as_object_mut()
                .expect("an object")
                .retain(|key, _| !keys.contains(key));
            let session = Session::parse(&answer).expect("a session");
            let d = if session.d().is_empty() {
                json("{}")
            } else {
                json(session.d())
            };
            assert_eq!(d, left);
            world
                .ask("DELETE", &format!("/forum/kill/{token}"), "", "")
                .expect("a request")
                .expect("a count");
        }

        let answer = world
            .ask("GET", &format!("/forum/auth?{query}"), &reader, "")
            .expect("as before");
        match wanted(query) {
            Ok(keys) => {
                let (headers, _) = answer.expect("a session");
                for key in ["a", "b", "role", "none"] {
                    let value = [("a", "1"), ("b", "x%20y"), ("role", "%C3%A9")]
                        .into_iter()
                        .find(|(known, _)| *known == key);
                    let value = value
                        .filter(|_| keys.iter().any(|wanted| wanted == key))
                        .map(|(_, value)| value);
                    let header = headers.get(format!("x-session-data-{key}"));
                    assert_eq!(header.map(|header| header.to_str().expect("a text")), value, "{key}");
                }
            }
            Err(why) => assert_eq!(answer.map(drop), Err(refused(why))),
        }
    });
}
