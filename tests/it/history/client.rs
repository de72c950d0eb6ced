//! Sends a call to an instance, interprets the answer and records both.

use std::time::Duration;

use serde::Deserialize;

use super::{
    record::{Answer, Call, Operation, Outcome, Seen},
    workload::{Target, Workload},
};
use crate::{
    process::PATIENCE,
    support::{Session, json},
};

/// The result of an HTTP request.
enum Reply {
    /// The connection was refused, so the request was never sent.
    Refused,
    /// The connection broke, or the client cancelled the request.
    Lost,
    Status(u16, String),
}

impl Workload {
    /// Performs a call; false if its outcome is unknown.
    pub(super) async fn perform(&self, user: usize, call: Call, slot: usize, limit: Option<Duration>) -> bool {
        let token = match call {
            Call::Create { .. } => None,
            ref call => call.session().and_then(|session| self.token(user, session)),
        };
        self.request(user, call, token, slot, limit).await
    }

    fn token(&self, user: usize, session: usize) -> Option<String> {
        let shared = self.shared();
        let mut users = shared.users.iter().chain(&shared.former);
        let user = users.find(|one| one.number == user)?;
        let token = user.tokens.iter().find(|(number, _)| *number == session);
        token.map(|(_, token)| token.clone())
    }

    /// Performs a call with this token. With a `limit` the client cancels the request after that time.
    pub(super) async fn request(
        &self,
        user: usize,
        call: Call,
        token: Option<String>,
        slot: usize,
        limit: Option<Duration>,
    ) -> bool {
        let target = self.target(slot);
        let began = self.tick();
        let sent = self.send(&target, user, &call, token.as_deref().unwrap_or_default());
        let sent = tokio::time::timeout(limit.unwrap_or(PATIENCE), sent).await;
        assert!(
            sent.is_ok() || limit.is_some(),
            "no answer within {PATIENCE:?} to {call:?}"
        );
        let reply = sent.unwrap_or(Reply::Lost);
        let ended = self.tick();
        let outcome = match reply {
            Reply::Refused => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                return false;
            }
            Reply::Status(200, body) => Outcome::Answered(self.parse_answer(user, &call, &body)),
            Reply::Status(503, _) | Reply::Lost => Outcome::Unknown,
            Reply::Status(status, body) => panic!("{status} {body} to {call:?}"),
        };
        let known = outcome != Outcome::Unknown;
        {
            let mut shared = self.shared();
            shared.history.push(Operation {
                user,
                call,
                began,
                ended,
                outcome,
            });
            shared.incarnations.push(target.incarnation);
        }
        if !known && limit.is_none() {
            self.until_ready(slot).await;
        }
        known
    }

    /// Waits for the end of an outage, since requests during it only add operations of unknown outcome.
    async fn until_ready(&self, slot: usize) {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let address = self.target(slot).address;
            let asked = self
                .client
                .get(format!("http://{address}/readyz"))
                .timeout(PATIENCE)
                .send()
                .await;
            if self.is_done() || asked.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
        }
    }

    async fn send(&self, target: &Target, user: usize, call: &Call, token: &str) -> Reply {
        let url = |path: &str| format!("http://{}/history{path}", target.address);
        let http = &self.client;
        let request = match call {
            Call::Create { data, .. } => {
                let body = object(data.iter().map(|(key, value)| (key, Some(*value))));
                http.put(url(&format!("/create/user-{user}?ip=10.0.0.1"))).body(body)
            }
            Call::Get { .. } => http.get(url(&format!("/get/{token}"))),
            Call::Set { changes, .. } => {
                let body = object(changes.iter().map(|(key, value)| (key, *value)));
                http.post(url(&format!("/set/{token}"))).body(body)
            }
            Call::Kill { .. } => http.delete(url(&format!("/kill/{token}"))),
            Call::KillUser => http.delete(url(&format!("/killsoid/user-{user}"))),
            Call::List => http.get(url(&format!("/soid/user-{user}"))),
        };
        match request.send().await {
            Err(error) if error.is_connect() => Reply::Refused,
            Err(_) => Reply::Lost,
            Ok(response) => {
                let status = response.status().as_u16();
                response
                    .text()
                    .await
                    .map_or(Reply::Lost, |body| Reply::Status(status, body))
            }
        }
    }

    /// Parses an answer; remembers the token of a create.
    fn parse_answer(&self, user: usize, call: &Call, body: &str) -> Answer {
        match call {
            Call::Create { session, .. } => {
                let token = json(body)["token"].as_str().expect("a token").to_owned();
                let mut shared = self.shared();
                let shared = &mut *shared;
                let mut users = shared.users.iter_mut().chain(&mut shared.former);
                let user = users
                    .find(|one| one.number == user)
                    .expect("a create names a known user");
                user.tokens.push((*session, token));
                Answer::Created
            }
            Call::Get { .. } | Call::Set { .. } => {
                let session = Session::parse(body);
                Answer::Session(session.map(|session| seen(user, &session)))
            }
            Call::Kill { .. } | Call::KillUser => {
                let killed = json(body)["kill"].as_u64().expect("a count");
                Answer::Killed(usize::try_from(killed).expect("a small number"))
            }
            Call::List => {
                let list: List = serde_json::from_str(body).expect("a list");
                Answer::List(list.sessions.iter().map(|session| seen(user, session)).collect())
            }
        }
    }
}

/// The answer to soid.
#[derive(Deserialize)]
struct List {
    sessions: Vec<Session>,
}

/// Writes a JSON object with its keys in this order.
fn object<'a>(pairs: impl Iterator<Item = (&'a String, Option<u64>)>) -> String {
    let pairs = pairs.map(|(key, value)| match value {
        Some(value) => format!(r#""{key}":{value}"#),
        None => format!(r#""{key}":null"#),
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// The compared fields of a session. Asserts the fields that no call changes.
fn seen(user: usize, session: &Session) -> Seen {
    assert_eq!(
        (session.id.clone(), session.ttl, session.ip.as_str()),
        (format!("user-{user}"), 7200, "10.0.0.1")
    );
    let text = session.d();
    let inside = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .expect("every session has data");
    let data: Vec<_> = inside
        .split(',')
        .map(|pair| {
            let (key, value) = pair.split_once(':').expect("a pair");
            (key.trim_matches('"').to_owned(), value.parse().expect("a number"))
        })
        .collect();
    let (first, number) = &data[0];
    assert_eq!(first, "n", "the first key moved: {text}");
    Seen {
        session: usize::try_from(*number).expect("a small number"),
        reads: session.r,
        writes: session.w,
        data,
    }
}
