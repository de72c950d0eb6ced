//! Tests of the invalidation messages for peers with a local cache: the channel `ns:cache` gets `APP:TOKEN` for each
//! session that changed or ended.

use std::time::Duration;

use deadpool_redis::redis::{Connection, PubSub, cmd};

use crate::support::{App, NO_TOKEN, Server, Store, redis_server};

/// The test publishes this itself. Once it arrives, every message before it has arrived.
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

    fn subscribe(&mut self) -> PubSub<'_> {
        let mut subscription = self.connection.as_pubsub();
        subscription.subscribe(&self.name).expect("a subscription");
        // Only a failing test waits this long.
        subscription
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        subscription
    }
}

/// All messages published so far, in order.
fn received(subscription: &mut PubSub<'_>, channel: &str) -> Vec<String> {
    let subscribers: u64 = cmd("PUBLISH")
        .arg(channel)
        .arg(END)
        .query(&mut redis_server::connection())
        .expect("published");
    assert_eq!(subscribers, 1);
    let mut messages = Vec::new();
    loop {
        let message: String = subscription
            .get_message()
            .and_then(|message| message.get_payload())
            .expect("a message");
        if message == END {
            return messages;
        }
        messages.push(message);
    }
}

async fn create_sessions(app: &App, ids: &[&str]) -> Vec<String> {
    let mut tokens = Vec::new();
    for id in ids {
        tokens.push(app.create(id).await);
    }
    tokens
}

/// The messages expected for these sessions, sorted.
fn invalidations_of<'a>(tokens: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut messages: Vec<_> = tokens.into_iter().map(|token| format!("forum:{token}")).collect();
    messages.sort_unstable();
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_and_every_kill_publish_an_invalidation() {
    let server = Server::start(Store::Redis).await;
    let app = server.app("forum");
    let mut channel = Channel::open(&server);
    let name = channel.name.clone();
    let mut subscription = channel.subscribe();
    let tokens = create_sessions(&app, &["ann", "ann", "ann", "bob", "a:b", "carl"]).await;
    received(&mut subscription, &name);

    app.set(&tokens[0], r#"{"a":1}"#).await.expect("alive");
    assert_eq!(received(&mut subscription, &name), invalidations_of([&tokens[0]]));
    app.kill(&tokens[0]).await;
    assert_eq!(received(&mut subscription, &name), invalidations_of([&tokens[0]]));
    app.killsoid("ann").await;
    let mut messages = received(&mut subscription, &name);
    messages.sort_unstable();
    assert_eq!(messages, invalidations_of(&tokens[1..3]));
    app.killall().await;
    let mut messages = received(&mut subscription, &name);
    messages.sort_unstable();
    assert_eq!(messages, invalidations_of(&tokens[3..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_change_no_session_publish_nothing() {
    let server = Server::start(Store::Redis).await;
    let app = server.app("forum");
    let mut channel = Channel::open(&server);
    let name = channel.name.clone();
    let mut subscription = channel.subscribe();
    app.create("ann").await;
    app.soid("ann").await;
    app.soapp(60).await;
    app.activity(60).await;
    app.get(NO_TOKEN).await;
    app.set(NO_TOKEN, r#"{"a":1}"#).await;
    app.killsoid("nobody").await;
    server.app("nothing").killall().await;
    assert_eq!(received(&mut subscription, &name), [""; 0]);
}
