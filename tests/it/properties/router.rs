//! The real router on an embedded store, called without a network.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Uri},
};
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

use crate::support::{Session, json};

/// The router on an embedded store.
pub(super) struct TestRouter {
    router: Router,
    runtime: Runtime,
    _folder: TempDir,
}

/// Headers and body of a success, or the status and `name: message` of an error.
pub(super) type Answer = Result<(HeaderMap, String), (u16, String)>;

impl TestRouter {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
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

    /// Sends a request; `None` if it is not valid HTTP.
    pub(super) fn ask(&self, method: &str, target: &str, token: &str, body: &str) -> Option<Answer> {
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

    /// Creates a session with this body; returns the token.
    pub(super) fn create(&self, body: &str) -> String {
        let answer = self
            .ask("PUT", "/forum/create/ann?ip=10.0.0.1", "", body)
            .expect("a request");
        let (_, body) = answer.expect("a session");
        json(&body)["token"].as_str().expect("a token").to_owned()
    }

    /// The only session of an id; `id` is percent-encoded.
    pub(super) fn session(&self, app: &str, id: &str) -> Session {
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
