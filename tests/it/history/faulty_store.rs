//! A faulty store, to test the checker: a real server behind an HTTP proxy that falsifies some answers.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use fastrand::Rng;
use reqwest::Client;
use tempfile::TempDir;

use super::{faults::Scene, workload::Workload};
use crate::{
    process::Process,
    support::{Session, json},
};

/// The kind of wrong answer that the proxy gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// A get returns an earlier answer.
    Stale,
    /// A set is answered with success but not applied.
    SwallowedSet,
    /// A set is applied twice, as by a retry after a lost answer.
    RepeatedSet,
    /// A kill is answered with success but not applied.
    SwallowedKill,
    /// A get returns `{}` for an existing session, as if an outage meant a missing session.
    Missing,
}

impl Defect {
    pub(super) const ALL: [Self; 5] = [
        Self::Stale,
        Self::SwallowedSet,
        Self::RepeatedSet,
        Self::SwallowedKill,
        Self::Missing,
    ];

    /// The affected route, and n where one of n requests is answered wrongly.
    fn route_and_period(self) -> (&'static str, u32) {
        match self {
            Self::Stale | Self::Missing => ("get", 6),
            Self::SwallowedSet | Self::RepeatedSet => ("set", 6),
            // Kills are rare in a workload.
            Self::SwallowedKill => ("kill", 2),
        }
    }
}

/// Numbers of the sessions that received a wrong answer.
pub(super) type Victims = Arc<Mutex<BTreeSet<usize>>>;

pub(super) struct FaultyStore {
    data_dir: TempDir,
    defect: Defect,
    seed: u64,
    process: Option<Process>,
    victims: Victims,
}

impl FaultyStore {
    pub(super) fn new(defect: Defect, seed: u64, victims: Victims) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary folder");
        Self {
            data_dir,
            defect,
            seed,
            process: None,
            victims,
        }
    }
}

impl Scene for FaultyStore {
    fn open(&mut self, workload: &Workload) {
        let process = Process::start(self.data_dir.path(), &[]);
        let proxy = Proxy {
            client: Client::builder()
                .no_proxy()
                .pool_max_idle_per_host(0)
                .build()
                .expect("a client"),
            address: process.address().to_owned(),
            defect: self.defect,
            earlier_answers: Mutex::default(),
            rng: Mutex::new(Rng::with_seed(self.seed)),
            victims: self.victims.clone(),
        };
        self.process = Some(process);
        let address = tokio::runtime::Handle::current().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("a bound listener has an address");
            let app = Router::new().fallback(answer).with_state(Arc::new(proxy));
            // The task ends with the test's runtime.
            tokio::spawn(async move { axum::serve(listener, app).await });
            address
        });
        workload.publish(0, &address.to_string());
    }

    /// Injects nothing: the proxy itself is the fault.
    fn inject(&mut self, _: &mut Rng, _: &Workload) {}
}

struct Proxy {
    client: Client,
    address: String,
    defect: Defect,
    /// An earlier answer with a session for each token.
    earlier_answers: Mutex<HashMap<String, String>>,
    rng: Mutex<Rng>,
    victims: Victims,
}

/// How the proxy mishandles a request.
enum Mishandling {
    /// It forwards the request twice.
    ForwardTwice,
    /// It answers with this body and does not forward the request.
    AnswerWith(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("the lock is not poisoned")
}

async fn answer(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let path = head.uri.path_and_query().expect("a path").to_string();
    let (verb, token) = {
        let mut parts = path.split('/').skip(2);
        (
            parts.next().unwrap_or_default().to_owned(),
            parts.next().unwrap_or_default().to_owned(),
        )
    };
    let send = async || {
        let url = format!("http://{}{path}", proxy.address);
        let sent = proxy
            .client
            .request(head.method.clone(), url)
            .body(body.clone())
            .send()
            .await;
        let response = sent.expect("the store is there");
        let status = StatusCode::from_u16(response.status().as_u16()).expect("a status");
        (status, response.text().await.expect("a text"))
    };
    match proxy.mishandling(&verb, &token, &body) {
        Some(Mishandling::AnswerWith(answer)) => return answer.into_response(),
        Some(Mishandling::ForwardTwice) => drop(send().await),
        None => {}
    }
    let (status, text) = send().await;
    if matches!(verb.as_str(), "get" | "set") && text != "{}" {
        // For stale answers an entry is replaced only now and then, so that it is older than the last answer.
        let mut earlier = lock(&proxy.earlier_answers);
        if proxy.defect != Defect::Stale || lock(&proxy.rng).u32(..4) == 0 || !earlier.contains_key(&token) {
            earlier.insert(token, text.clone());
        }
    }
    (status, Body::from(text)).into_response()
}

impl Proxy {
    /// Whether this request is mishandled, and how.
    fn mishandling(&self, verb: &str, token: &str, body: &[u8]) -> Option<Mishandling> {
        let (route, period) = self.defect.route_and_period();
        let earlier = lock(&self.earlier_answers).get(token).cloned()?;
        if verb != route || lock(&self.rng).u32(..period) > 0 {
            return None;
        }
        let session = json(&earlier)["d"]["n"].as_u64().expect("every session has a number");
        lock(&self.victims).insert(usize::try_from(session).expect("few sessions"));
        Some(match self.defect {
            Defect::Stale => Mishandling::AnswerWith(earlier),
            Defect::Missing => Mishandling::AnswerWith("{}".into()),
            Defect::SwallowedKill => Mishandling::AnswerWith(r#"{"kill":1}"#.into()),
            Defect::SwallowedSet => Mishandling::AnswerWith(fake_set_answer(&earlier, body)),
            Defect::RepeatedSet => Mishandling::ForwardTwice,
        })
    }
}

/// A plausible answer to a set: an earlier answer with `w` raised by one and the new keys appended.
fn fake_set_answer(earlier: &str, body: &[u8]) -> String {
    let session = Session::parse(earlier).expect("a session");
    let body = json(std::str::from_utf8(body).expect("a text"));
    let mut d = session.d().trim_end_matches('}').to_owned();
    for (key, value) in body.as_object().expect("an object") {
        if !value.is_null() && !d.contains(&format!("\"{key}\"")) {
            d.extend([",\"", key, "\":", &value.to_string()]);
        }
    }
    let Session {
        id,
        r,
        w,
        ttl,
        idle,
        ip,
        ..
    } = session;
    let w = w + 1;
    format!(r#"{{"id":"{id}","r":{r},"w":{w},"ttl":{ttl},"idle":{idle},"ip":"{ip}","d":{d}}}}}"#)
}
