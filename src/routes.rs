//! The route table, then one short handler for each function of the session service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get as read, post, put},
};
use serde::Serialize;
use tracing::Instrument;

use crate::{
    auth::{Cookie, Visitor, Wanted, passed},
    error::{Error, JSON},
    extract::{BodyTimeout, CreateQuery, Dt, JsonBody, Page, Unset},
    listing,
    metrics::Metrics,
    service::{NewSession, Service},
    session::{App, Changes, Scope, Session, Token, UserId},
};

/// What the handlers share. A handle: cloning it is cheap, as each request does.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Shared>);

#[derive(Clone, Debug)]
struct Shared {
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    draining: Arc<AtomicBool>,
    body_timeout: BodyTimeout,
    cookie: Cookie,
}

impl AppState {
    /// The state of a server; the bodies of its requests may take `body_timeout` to arrive, and visitors have their token in
    /// the cookie of this name.
    #[must_use]
    pub fn new(service: Arc<Service>, metrics: Arc<Metrics>, body_timeout: Duration, cookie: &str) -> Self {
        Self(Arc::new(Shared {
            service,
            metrics,
            draining: Arc::default(),
            body_timeout: BodyTimeout(body_timeout),
            cookie: Cookie(cookie.into()),
        }))
    }

    /// The same state, whose references are counted apart.
    pub(crate) fn apart(&self) -> Self {
        Self(Arc::new((*self.0).clone()))
    }

    /// The metrics of this server.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How long a body may take to arrive.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        self.0.body_timeout.0
    }

    /// From now on `/readyz` answers that the server is about to end.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    fn service(&self) -> &Service {
        &self.0.service
    }
}

impl FromRef<AppState> for BodyTimeout {
    fn from_ref(state: &AppState) -> Self {
        state.0.body_timeout
    }
}

impl FromRef<AppState> for Cookie {
    fn from_ref(state: &AppState) -> Self {
        state.0.cookie.clone()
    }
}

/// Every route. The names are part of the contract, and case-sensitive.
fn routes() -> [(&'static str, MethodRouter<AppState>); 15] {
    [
        ("/{app}/create/{id}", put(create)),
        ("/{app}/get/{token}", read(get)),
        ("/{app}/auth", read(auth)),
        ("/{app}/set/{token}", post(set)),
        ("/{app}/activity", read(activity)),
        ("/{app}/soapp", read(soapp)),
        ("/{app}/soid/{id}", read(soid)),
        ("/{app}/kill/{token}", delete(kill)),
        ("/{app}/killsoid/{id}", delete(killsoid)),
        ("/{app}/killall", delete(killall)),
        ("/ping", read(ping)),
        ("/livez", read(livez)),
        ("/readyz", read(readyz)),
        ("/metrics", read(metrics)),
        ("/openapi.yaml", read(openapi)),
    ]
}

/// The paths of all routes, with their parameters in braces.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

/// The routes as a router, with answers for unknown ones and for wrong methods.
pub fn table() -> Router<AppState> {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
}

async fn create(
    State(state): State<AppState>,
    app: App,
    id: UserId,
    CreateQuery { ip, ttl, no_resave }: CreateQuery,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    #[derive(Serialize)]
    struct Created<'a> {
        token: &'a str,
    }
    let data = Changes::for_create(&body)?;
    let new = NewSession {
        ip,
        ttl,
        no_resave,
        data,
    };
    let token = state.service().create(app, id, new).await?;
    Ok(json(&Created { token: token.as_str() }))
}

async fn get(State(state): State<AppState>, app: App, token: Token) -> Result<Response, Error> {
    state.service().get(app, token).await.map(session)
}

async fn auth(State(state): State<AppState>, app: App, wanted: Wanted, visitor: Visitor) -> Result<Response, Error> {
    for token in visitor.tokens() {
        if let Some((session, left)) = state.service().auth(app, token, wanted.renew).await? {
            return passed(&session, left, &wanted);
        }
    }
    Err(Error::Unauthorized)
}

async fn set(
    State(state): State<AppState>,
    app: App,
    token: Token,
    Unset(unset): Unset,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    let changes = Changes::for_set(&body, unset)?;
    state.service().set(app, token, changes).await.map(session)
}

async fn activity(State(state): State<AppState>, app: App, Dt(dt): Dt) -> Result<Response, Error> {
    #[derive(Serialize)]
    struct Activity {
        activity: u64,
    }
    let activity = state.service().activity(app, dt).await?;
    Ok(json(&Activity { activity }))
}

async fn soapp(State(state): State<AppState>, app: App, Dt(dt): Dt, page: Page) -> Result<Response, Error> {
    let scope = Scope::of_app(app);
    let (after, most) = (page.after(scope)?, page.most());
    let listing = state.service().soapp(app, dt, after, most).await?;
    listing::answer(state.0.service.clone(), listing, page.limit, scope).await
}

async fn soid(State(state): State<AppState>, app: App, id: UserId, page: Page) -> Result<Response, Error> {
    let scope = Scope::of_id(app, &id);
    let listing = state.service().soid(app, id, page.after(scope)?, page.most());
    listing::answer(state.0.service.clone(), listing, page.limit, scope).await
}

async fn kill(State(state): State<AppState>, app: App, token: Token) -> Result<Response, Error> {
    state.service().kill(app, token).await.map(killed)
}

async fn killsoid(State(state): State<AppState>, app: App, id: UserId) -> Result<Response, Error> {
    let service = state.0.service.clone();
    to_its_end(async move { service.killsoid(app, id).await })
        .await
        .map(killed)
}

async fn killall(State(state): State<AppState>, app: App) -> Result<Response, Error> {
    let service = state.0.service.clone();
    to_its_end(async move { service.killall(app).await }).await.map(killed)
}

/// Goes on even if the client has lost its patience: half a logout is none.
async fn to_its_end<T: Send + 'static>(
    removal: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let removal = tokio::spawn(removal.in_current_span());
    removal.await.unwrap_or(Err(Error::Internal))
}

async fn ping() -> &'static str {
    "PONG"
}

/// The process is alive, whatever its store does: restarting it would not mend an outage.
async fn livez() -> &'static str {
    "ok"
}

/// The store answers, and the server is not about to end.
async fn readyz(State(state): State<AppState>) -> Result<&'static str, Error> {
    if state.0.draining.load(Ordering::Relaxed) {
        return Err(Error::ShuttingDown);
    }
    state.service().ready().await?;
    Ok("ok")
}

async fn metrics(State(state): State<AppState>) -> Response {
    const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, PROMETHEUS)], state.metrics().text()).into_response()
}

async fn openapi() -> Response {
    const YAML: HeaderValue = HeaderValue::from_static("application/yaml; charset=utf-8");
    ([(header::CONTENT_TYPE, YAML)], include_str!("../openapi.yaml")).into_response()
}

/// The session, or `{}` where there is none.
fn session(session: Option<Session>) -> Response {
    let mut text = Vec::new();
    match session {
        Some(session) => session.write(&mut text),
        None => text.extend(b"{}"),
    }
    json_body(text.into())
}

fn killed(kill: u64) -> Response {
    #[derive(Serialize)]
    struct Killed {
        kill: u64,
    }
    json(&Killed { kill })
}

fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => json_body(body.into()),
        Err(_) => Error::Internal.into_response(),
    }
}

/// An answer of JSON text.
pub(crate) fn json_body(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
