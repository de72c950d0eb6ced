//! What to ask to be given each answer that the document declares.

use std::collections::BTreeSet;

use super::{
    contract::operations,
    request::Request,
    worlds::World::{self, Away, Broken, Ending, Hurried, Plain},
};

/// A request, and the status that it has to be given.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) world: World,
    pub(super) request: Request,
    pub(super) status: u16,
    /// The data of a session that is created before; the request is for its token.
    pub(super) session: Option<String>,
    /// Whether half of the body is all that is sent.
    pub(super) halved: bool,
}

fn case(request: Request, status: u16, world: World) -> Case {
    Case {
        world,
        request,
        status,
        session: None,
        halved: false,
    }
}

/// The operations that the store serves.
const SESSIONS: [&str; 10] = [
    "create", "get", "auth", "set", "activity", "soapp", "soid", "kill", "killsoid", "killall",
];

pub(super) fn cases() -> Vec<Case> {
    let probes = ["ping", "livez", "readyz", "metrics", "openapi"].map(|id| case(Request::of(id), 200, Plain));
    let not_ready = [Away, Ending].map(|world| case(Request::of("readyz"), 503, world));
    let mut cases: Vec<_> = probes.into_iter().chain(not_ready).collect();
    for id in SESSIONS {
        let request = Request::of(id);
        let (some, none) = if id == "auth" { (204, 401) } else { (200, 200) };
        cases.push(case(request.clone(), none, Plain));
        cases.push(Case {
            session: Some(r#"{"name":"Ada","cart":3,"beta":true,"half":0.5}"#.into()),
            ..case(request.clone(), some, Plain)
        });
        cases.push(case(request.clone(), 500, Broken));
        cases.push(case(request.clone(), 503, Away));
        cases.extend(bad_names(&request).map(|request| case(request, 400, Plain)));
        if !request.body.is_empty() {
            cases.extend(bad_bodies(&request));
        }
    }
    cases.extend(only_create());
    cases.extend(only_set());
    cases.extend(only_auth());
    cases
}

/// The same request with each of its names and spans spoilt.
fn bad_names(request: &Request) -> impl Iterator<Item = Request> {
    let spoilt = [
        ("app", "x"),
        ("id", "line\nbreak"),
        ("token", "short"),
        ("dt", "9"),
        ("limit", "0"),
        ("cursor", "0"),
    ];
    let spoilt = spoilt.into_iter().filter(|(name, _)| request.has(name));
    let spoilt = spoilt.map(|(name, value)| request.clone().with(name, value));
    let absent = request.has("dt").then(|| request.clone().without("dt"));
    spoilt.chain(absent)
}

/// The same request with bodies that are not taken.
fn bad_bodies(request: &Request) -> Vec<Case> {
    let body = |body: &str, status| case(request.clone().body(body), status, Plain);
    vec![
        body("{", 400),
        body("[1]", 400),
        body(r#"{"cart":[]}"#, 400),
        body(r#"{"cart":1e999}"#, 400),
        body(&large(60_000), 413),
        case(request.clone().content_type("text/plain"), 415, Plain),
        Case {
            halved: true,
            ..case(request.clone(), 408, Hurried)
        },
    ]
}

fn only_create() -> Vec<Case> {
    let create = || Request::of("create");
    let barely = create().without("ttl").without("no_resave");
    vec![
        case(barely.clone(), 200, Plain),
        case(barely.body(""), 200, Plain),
        case(create().body("{}"), 200, Plain),
        case(create().without("ip"), 400, Plain),
        case(create().with("ip", "line\nbreak"), 400, Plain),
        case(create().with("ttl", "9"), 400, Plain),
    ]
}

fn only_set() -> Vec<Case> {
    let grown = Case {
        session: Some(large(40_000)),
        ..case(Request::of("set").body(large(40_000).replace('x', "y")), 413, Plain)
    };
    let barely = || Request::of("set").without("unset");
    let both = r#"{"cart":1}"#;
    vec![
        case(barely().body("{}"), 400, Plain),
        case(Request::of("set").with("unset", "cart").body(both), 400, Plain),
        case(Request::of("set").body(""), 200, Plain),
        case(barely(), 200, Plain),
        grown,
    ]
}

fn only_auth() -> Vec<Case> {
    let auth = || Request::of("auth");
    vec![
        case(auth().without("X-Session-Token"), 401, Plain),
        case(auth().with("X-Session-Token", "short"), 401, Plain),
        case(auth().with("d", "a b"), 400, Plain),
        case(auth().with("d", "a,A"), 400, Plain),
        case(auth().with("touch", "2"), 400, Plain),
        case(auth().with("except", "line\nbreak"), 400, Plain),
    ]
}

/// An object whose one value has this many characters, all of which are its key's too.
fn large(length: usize) -> String {
    format!(r#"{{"x":"{}"}}"#, "x".repeat(length))
}

/// A status without a case is a claim that nobody looks at; a case without a status is an answer that nobody is told of.
#[test]
fn every_declared_status_has_a_case() {
    let declared: BTreeSet<_> = operations()
        .iter()
        .flat_map(|operation| operation.statuses().into_iter().map(|status| (operation.id(), status)))
        .collect();
    let asked = cases()
        .iter()
        .map(|case| (case.request.operation().id(), case.status))
        .collect();
    let missing: Vec<_> = declared.difference(&asked).collect();
    let undeclared: Vec<_> = asked.difference(&declared).collect();
    assert!(
        missing.is_empty() && undeclared.is_empty(),
        "without a case: {missing:?}; not declared: {undeclared:?}"
    );
}
