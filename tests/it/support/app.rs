//! A client for one app: each route is a function of the same name that expects success; [`App::request`] sends any
//! other request.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;

use super::{Answer, Session, json};

/// One app of a server. Cheap to clone for concurrent requests.
#[derive(Clone, Debug)]
pub(crate) struct App {
    client: Client,
    url: String,
}

/// Percent-encodes an id for a path.
fn escape(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

impl App {
    pub(crate) fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// A request to a path below the app.
    pub(crate) fn request(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path_and_query}", self.url))
    }

    /// Creates a plain session and returns its token.
    pub(crate) async fn create(&self, id: &str) -> String {
        self.create_with(id, "", "").await
    }

    /// Creates a session with further parameters (`ttl=10&no_resave=1`) and a body; both may be empty.
    pub(crate) async fn create_with(&self, id: &str, parameters: &str, body: &str) -> String {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Created {
            token: String,
        }
        let path = format!("/create/{}?ip=127.0.0.1&{parameters}", escape(id));
        let answer = Answer::of(self.request(Method::PUT, &path).body(body.to_owned())).await;
        let created: Created = serde_json::from_str(answer.ok()).expect("a token and nothing else");
        created.token
    }

    /// Reads a session.
    pub(crate) async fn get(&self, token: &str) -> Option<Session> {
        Session::parse(self.try_get(token).await.ok())
    }

    /// Reads a session; any status is allowed.
    pub(crate) async fn try_get(&self, token: &str) -> Answer {
        Answer::of(self.request(Method::GET, &format!("/get/{token}"))).await
    }

    /// Changes a session; any status is allowed.
    pub(crate) async fn try_set(&self, token: &str, body: impl Into<String>) -> Answer {
        Answer::of(self.request(Method::POST, &format!("/set/{token}")).body(body.into())).await
    }

    /// Changes a session.
    pub(crate) async fn set(&self, token: &str, body: impl Into<String>) -> Option<Session> {
        Session::parse(self.try_set(token, body).await.ok())
    }

    /// The number of ids that were active in the last `dt` seconds.
    pub(crate) async fn activity(&self, dt: u64) -> u64 {
        self.number(Method::GET, &format!("/activity?dt={dt}"), "activity")
            .await
    }

    /// The sessions that were active in the last `dt` seconds.
    pub(crate) async fn soapp(&self, dt: u64) -> Vec<Session> {
        self.sessions(&format!("/soapp?dt={dt}")).await
    }

    /// A page of soapp: at most `limit` sessions after `cursor`, and the cursor of the next page.
    pub(crate) async fn page(
        &self,
        dt: u64,
        limit: Option<usize>,
        cursor: Option<&str>,
    ) -> (Vec<Session>, Option<String>) {
        self.page_of(&format!("/soapp?dt={dt}"), limit, cursor).await
    }

    /// A page of soid.
    pub(crate) async fn page_of_id(
        &self,
        id: &str,
        limit: Option<usize>,
        cursor: Option<&str>,
    ) -> (Vec<Session>, Option<String>) {
        self.page_of(&format!("/soid/{}?", escape(id)), limit, cursor).await
    }

    async fn page_of(&self, list: &str, limit: Option<usize>, cursor: Option<&str>) -> (Vec<Session>, Option<String>) {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Page {
            sessions: Vec<Session>,
            cursor: Option<String>,
        }
        let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let answer = Answer::of(self.request(Method::GET, &format!("{list}{limit}{cursor}"))).await;
        let page: Page = serde_json::from_str(answer.ok()).expect("sessions and an optional cursor");
        (page.sessions, page.cursor)
    }

    /// The sessions of one id.
    pub(crate) async fn soid(&self, id: &str) -> Vec<Session> {
        self.sessions(&format!("/soid/{}", escape(id))).await
    }

    /// Kills one session.
    pub(crate) async fn kill(&self, token: &str) -> u64 {
        self.number(Method::DELETE, &format!("/kill/{token}"), "kill").await
    }

    /// Kills the sessions of one id.
    pub(crate) async fn killsoid(&self, id: &str) -> u64 {
        self.number(Method::DELETE, &format!("/killsoid/{}", escape(id)), "kill")
            .await
    }

    /// Kills every session of the app.
    pub(crate) async fn killall(&self) -> u64 {
        self.number(Method::DELETE, "/killall", "kill").await
    }

    /// Sends a request that must be answered with exactly `{"name":N}`; returns N.
    async fn number(&self, method: Method, path: &str, name: &str) -> u64 {
        let answer = Answer::of(self.request(method, path)).await;
        let number = json(answer.ok())[name].as_u64().expect("a count");
        assert_eq!(answer.body, format!(r#"{{"{name}":{number}}}"#));
        number
    }

    async fn sessions(&self, path: &str) -> Vec<Session> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct List {
            sessions: Vec<Session>,
        }
        let answer = Answer::of(self.request(Method::GET, path)).await;
        let list: List = serde_json::from_str(answer.ok()).expect("sessions and nothing else");
        list.sessions
    }
}
