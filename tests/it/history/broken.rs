//! A store that breaks a promise now and then: the real one, behind a proxy that does not pass everything on.

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

use super::{faults::Scene, run::World};
use crate::{
    process::Process,
    support::{Session, json},
};

/// What the proxy does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// Answers a get with an earlier answer.
    Stale,
    /// Answers a set as if it had been done.
    SwallowedSet,
    /// Sends a set twice, as if the first answer had been lost.
    RepeatedSet,
    /// Answers a kill as if it had been done.
    SwallowedKill,
    /// Says that there is no session, as if an outage were that.
    Nothing,
}

impl Defect {
    pub(super) const ALL: [Self; 5] = [
        Self::Stale,
        Self::SwallowedSet,
        Self::RepeatedSet,
        Self::SwallowedKill,
        Self::Nothing,
    ];

    /// The route that it is about, and of how many of its requests one is dealt with wrongly.
    fn about(self) -> (&'static str, u32) {
        match self {
            Self::Stale | Self::Nothing => ("get", 6),
            Self::SwallowedSet | Self::RepeatedSet => ("set", 6),
            // There are few.
            Self::SwallowedKill => ("kill", 2),
        }
    }
}

/// The sessions that suffered from it.
pub(super) type Victims = Arc<Mutex<BTreeSet<usize>>>;

pub(super) struct Broken {
    folder: TempDir,
    defect: Defect,
    seed: u64,
    process: Option<Process>,
    victims: Victims,
}

impl Broken {
    pub(super) fn new(defect: Defect, seed: u64, victims: Victims) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            folder,
            defect,
            seed,
            process: None,
            victims,
        }
    }
}

impl Scene for Broken {
    fn open(&mut self, world: &World) {
        let process = Process::start(self.folder.path(), &[]);
        let proxy = Proxy {
            client: Client::builder()
                .no_proxy()
                .pool_max_idle_per_host(0)
                .build()
                .expect("a client"),
            address: process.address().to_owned(),
            defect: self.defect,
            known: Mutex::default(),
            rng: Mutex::new(Rng::with_seed(self.seed)),
            victims: self.victims.clone(),
        };
        self.process = Some(process);
        let address = tokio::runtime::Handle::current().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("a bound listener has an address");
            let app = Router::new().fallback(answer).with_state(Arc::new(proxy));
            // It ends with the runtime of the test.
            tokio::spawn(async move { axum::serve(listener, app).await });
            address
        });
        world.publish(0, &address.to_string());
    }

    /// The proxy is disturbance enough.
    fn disturb(&mut self, _: &mut Rng, _: &World) {}
}

struct Proxy {
    client: Client,
    address: String,
    defect: Defect,
    /// The last answers with a session, by token.
    known: Mutex<HashMap<String, String>>,
    rng: Mutex<Rng>,
    victims: Victims,
}

/// What is done with a request.
enum Wrong {
    /// It is sent twice.
    Twice,
    /// It is not sent but answered.
    Instead(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
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
    match proxy.wrong(&verb, &token, &body) {
        Some(Wrong::Instead(answer)) => return answer.into_response(),
        Some(Wrong::Twice) => drop(send().await),
        None => {}
    }
    let (status, text) = send().await;
    if matches!(verb.as_str(), "get" | "set") && text != "{}" {
        // Never the latest one: what is kept first stays for a while.
        let mut known = lock(&proxy.known);
        if proxy.defect != Defect::Stale || lock(&proxy.rng).u32(..4) == 0 || !known.contains_key(&token) {
            known.insert(token, text.clone());
        }
    }
    (status, Body::from(text)).into_response()
}

impl Proxy {
    /// Whether this request is dealt with wrongly, and how.
    fn wrong(&self, verb: &str, token: &str, body: &[u8]) -> Option<Wrong> {
        let (about, seldom) = self.defect.about();
        let known = lock(&self.known).get(token).cloned()?;
        if verb != about || lock(&self.rng).u32(..seldom) > 0 {
            return None;
        }
        let session = json(&known)["d"]["n"].as_u64().expect("every session has a number");
        lock(&self.victims).insert(usize::try_from(session).expect("few"));
        Some(match self.defect {
            Defect::Stale => Wrong::Instead(known),
            Defect::Nothing => Wrong::Instead("{}".into()),
            Defect::SwallowedKill => Wrong::Instead(r#"{"kill":1}"#.into()),
            Defect::SwallowedSet => Wrong::Instead(set(&known, body)),
            Defect::RepeatedSet => Wrong::Twice,
        })
    }
}

/// What a set would answer: the last answer with one more write, and with the keys that are new.
fn set(known: &str, body: &[u8]) -> String {
    let session = Session::parse(known).expect("a session");
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
