//! What the handlers share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::extract::FromRef;

use super::extract::{BodyTimeout, CookieName};
use crate::{observability::metrics::Metrics, service::Service};

/// The state of a server. A handle: every request clones it.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    draining: Arc<AtomicBool>,
    body_timeout: BodyTimeout,
    cookie: CookieName,
}

impl AppState {
    /// A state. `body_timeout` bounds how long a request body may take to arrive; `cookie` names the cookie that holds a
    /// visitor's token.
    #[must_use]
    pub fn new(service: Arc<Service>, metrics: Arc<Metrics>, body_timeout: Duration, cookie: &str) -> Self {
        Self(Arc::new(Inner {
            service,
            metrics,
            draining: Arc::default(),
            body_timeout: BodyTimeout(body_timeout),
            cookie: CookieName(cookie.into()),
        }))
    }

    /// The same state behind a reference count of its own, so that threads do not contend for one.
    pub(crate) fn detached(&self) -> Self {
        Self(Arc::new((*self.0).clone()))
    }

    /// The metrics of this server.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// How long a request body may take to arrive.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        self.0.body_timeout.0
    }

    /// From now on `/readyz` answers 503.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub(super) fn service(&self) -> &Arc<Service> {
        &self.0.service
    }
}

impl FromRef<AppState> for BodyTimeout {
    fn from_ref(state: &AppState) -> Self {
        state.0.body_timeout
    }
}

impl FromRef<AppState> for CookieName {
    fn from_ref(state: &AppState) -> Self {
        state.0.cookie.clone()
    }
}
