//! One or more requests for each answer that the document declares.

use std::collections::BTreeSet;

use super::{
    contract::operations,
    request::Request,
    scenarios::Scenario::{self, Healthy, Panicking, ShortTimeout, ShuttingDown, StoreUnavailable},
};

/// A request and the status that it must be answered with.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) scenario: Scenario,
    pub(super) request: Request,
    pub(super) status: u16,
    /// The data of a session that is created first; the request uses its token.
    pub(super) session: Option<String>,
    /// Whether only the first half of the body is sent.
    pub(super) half_body: bool,
}

fn case(request: Request, status: u16, scenario: Scenario) -> Case {
    Case {
        scenario,
        request,
        status,
        session: None,
        half_body: false,
    }
}

/// The operations that use the store.
const SESSIONS: [&str; 10] = [
    "create", "get", "auth", "set", "activity", "soapp", "soid", "kill", "killsoid", "killall",
];

pub(super) fn cases() -> Vec<Case> {
    let probes = ["ping", "livez", "readyz", "metrics", "openapi"].map(|id| case(Request::of(id), 200, Healthy));
    let not_ready = [StoreUnavailable, ShuttingDown].map(|scenario| case(Request::of("readyz"), 503, scenario));
    let mut cases: Vec<_> = probes.into_iter().chain(not_ready).collect();
    for id in SESSIONS {
        let request = Request::of(id);
        let (some, none) = if id == "auth" { (204, 401) } else { (200, 200) };
        cases.push(case(request.clone(), none, Healthy));
        cases.push(Case {
            session: Some(r#"{"name":"Ada","cart":3,"beta":true,"half":0.5}"#.into()),
            ..case(request.clone(), some, Healthy)
        });
        cases.push(case(request.clone(), 500, Panicking));
        cases.push(case(request.clone(), 503, StoreUnavailable));
        cases.extend(with_bad_parameters(&request).map(|request| case(request, 400, Healthy)));
        if !request.body.is_empty() {
            cases.extend(with_bad_bodies(&request));
        }
    }
    cases.extend(only_create());
    cases.extend(only_set());
    cases.extend(only_auth());
    cases
}

/// The request with each parameter invalid in turn, and without `dt`.
fn with_bad_parameters(request: &Request) -> impl Iterator<Item = Request> {
    let invalid = [
        ("app", "x"),
        ("id", "line\nbreak"),
        ("token", "short"),
        ("dt", "9"),
        ("limit", "0"),
        ("cursor", "0"),
    ];
    let invalid = invalid.into_iter().filter(|(name, _)| request.has(name));
    let invalid = invalid.map(|(name, value)| request.clone().with(name, value));
    let absent = request.has("dt").then(|| request.clone().without("dt"));
    invalid.chain(absent)
}

/// The request with bodies that the service refuses.
fn with_bad_bodies(request: &Request) -> Vec<Case> {
    let body = |body: &str, status| case(request.clone().body(body), status, Healthy);
    vec![
        body("{", 400),
        body("[1]", 400),
        body(r#"{"cart":[]}"#, 400),
        body(r#"{"cart":1e999}"#, 400),
        body(&large(60_000), 413),
        case(request.clone().content_type("text/plain"), 415, Healthy),
        Case {
            half_body: true,
            ..case(request.clone(), 408, ShortTimeout)
        },
    ]
}

fn only_create() -> Vec<Case> {
    let create = || Request::of("create");
    let minimal = create().without("ttl").without("no_resave");
    vec![
        case(minimal.clone(), 200, Healthy),
        case(minimal.body(""), 200, Healthy),
        case(create().body("{}"), 200, Healthy),
        case(create().without("ip"), 400, Healthy),
        case(create().with("ip", "line\nbreak"), 400, Healthy),
        case(create().with("ttl", "9"), 400, Healthy),
    ]
}

fn only_set() -> Vec<Case> {
    let grown_too_large = Case {
        session: Some(large(40_000)),
        ..case(Request::of("set").body(large(40_000).replace('x', "y")), 413, Healthy)
    };
    let minimal = || Request::of("set").without("unset");
    let set_and_unset = r#"{"cart":1}"#;
    vec![
        case(minimal().body("{}"), 400, Healthy),
        case(
            Request::of("set").with("unset", "cart").body(set_and_unset),
            400,
            Healthy,
        ),
        case(Request::of("set").body(""), 200, Healthy),
        case(minimal(), 200, Healthy),
        grown_too_large,
    ]
}

fn only_auth() -> Vec<Case> {
    let auth = || Request::of("auth");
    vec![
        case(auth().without("X-Session-Token"), 401, Healthy),
        case(auth().with("X-Session-Token", "short"), 401, Healthy),
        case(auth().with("d", "a b"), 400, Healthy),
        case(auth().with("d", "a,A"), 400, Healthy),
        case(auth().with("touch", "2"), 400, Healthy),
        case(auth().with("except", "line\nbreak"), 400, Healthy),
    ]
}

/// An object with one key, whose value is this many times the letter x.
fn large(length: usize) -> String {
    format!(r#"{{"x":"{}"}}"#, "x".repeat(length))
}

/// A status without a case is an untested declaration; a case without a status is an undocumented answer.
#[test]
fn every_declared_status_has_a_case() {
    let declared: BTreeSet<_> = operations()
        .iter()
        .flat_map(|operation| operation.statuses().into_iter().map(|status| (operation.id(), status)))
        .collect();
    let tested = cases()
        .iter()
        .map(|case| (case.request.operation().id(), case.status))
        .collect();
    let missing: Vec<_> = declared.difference(&tested).collect();
    let undeclared: Vec<_> = tested.difference(&declared).collect();
    assert!(
        missing.is_empty() && undeclared.is_empty(),
        "without a case: {missing:?}; not declared: {undeclared:?}"
    );
}
