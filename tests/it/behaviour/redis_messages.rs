//! What peers with a local cache hear on the channel `ns:cache`: `APP:TOKEN` for each session that changed or ended.

use std::time::Duration;

use deadpool_redis::redis::{Connection, PubSub, cmd};

use crate::support::{App, NO_TOKEN, Server, Store, redis_server};

/// Published by the test itself: all that came before it has been heard.
const END: &str = "end of the test";

struct Channel {
    connection: Connection,
    name: String,
}

impl Channel {
    fn open(server: &Server) -> Self {
        Self {
            connection: redis_server::connection(),
            name: format!("{}:cache", server.config.namespace),
        }
    }

    fn listen(&mut self) -> PubSub<'_> {
        let mut listening = self.connection.as_pubsub();
        listening.subscribe(&self.name).expect("a subscription");
        // Only a missing message would be waited for.
        listening
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        listening
    }
}

/// All messages until now, in order.
fn heard(listening: &mut PubSub<'_>, channel: &str) -> Vec<String> {
    let listeners: u64 = cmd("PUBLISH")
        .arg(channel)
        .arg(END)
        .query(&mut redis_server::connection())
        .expect("published");
    assert_eq!(listeners, 1);
    let mut messages = Vec::new();
    loop {
        let message: String = listening
            .get_message()
            .and_then(|message| message.get_payload())
            .expect("a message");
        if message == END {
            return messages;
        }
        messages.push(message);
    }
}

async fn with_sessions(app: &App, ids: &[&str]) -> Vec<String> {
    let mut tokens = Vec::new();
    for id in ids {
        tokens.push(app.create(id).await);
    }
    tokens
}

/// The messages about these sessions, in the order of their tokens.
fn about<'a>(tokens: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut messages: Vec<_> = tokens.into_iter().map(|token| format!("forum:{token}")).collect();
    messages.sort_unstable();
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_and_each_kill_are_published() {
    let server = Server::start(Store::Redis).await;
    let app = server.app("forum");
    let mut channel = Channel::open(&server);
    let name = channel.name.clone();
    let mut listening = channel.listen();
    let tokens = with_sessions(&app, &["ann", "ann", "ann", "bob", "a:b", "carl"]).await;
    heard(&mut listening, &name);

    app.set(&tokens[0], r#"{"a":1}"#).await.expect("alive");
    assert_eq!(heard(&mut listening, &name), about([&tokens[0]]));
    app.kill(&tokens[0]).await;
    assert_eq!(heard(&mut listening, &name), about([&tokens[0]]));
    app.killsoid("ann").await;
    let mut messages = heard(&mut listening, &name);
    messages.sort_unstable();
    assert_eq!(messages, about(&tokens[1..3]));
    app.killall().await;
    let mut messages = heard(&mut listening, &name);
    messages.sort_unstable();
    assert_eq!(messages, about(&tokens[3..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nothing_for_a_peer_is_not_published() {
    let server = Server::start(Store::Redis).await;
    let app = server.app("forum");
    let mut channel = Channel::open(&server);
    let name = channel.name.clone();
    let mut listening = channel.listen();
    app.create("ann").await;
    app.soid("ann").await;
    app.soapp(60).await;
    app.activity(60).await;
    app.get(NO_TOKEN).await;
    app.set(NO_TOKEN, r#"{"a":1}"#).await;
    app.killsoid("nobody").await;
    server.app("nothing").killall().await;
    assert_eq!(heard(&mut listening, &name), [""; 0]);
}
