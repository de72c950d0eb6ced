//! Unusable replies of Redis: malformed, unexpected, or a reason for not serving. The service answers 503 and logs why.

use std::sync::Arc;

use deadpool_redis::redis::{Client, cmd};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{Redis, assert_all_succeed, assert_all_unavailable, assert_unavailable, stop};
use crate::{
    process::{Process, eventually},
    support::{NO_TOKEN, reply_proxy::ReplyProxy},
};

/// Replies that violate the protocol.
const MALFORMED: [&str; 4] = [":abc\r\n", ":99999999999999999999\r\n", "$3\r\nabcXX", "*1\r\n$-1\n"];

/// Well-formed replies that no command of the service can have.
const UNEXPECTED: [&str; 8] = [
    "$-1\r\n",
    "+OK\r\n",
    ":-1\r\n",
    "*0\r\n",
    "*-1\r\n",
    "*2\r\n:-1\r\n:0\r\n",
    "*2\r\n:0\r\n:-5\r\n",
    "$2\r\nOK\r\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_reply_is_answered_503() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::running();
    let proxy = ReplyProxy::to(redis.port()).await;
    let url = format!("redis://{}", proxy.address);
    let process = Arc::new(Process::start(folder.path(), &["--redis-url", &url]));
    assert_all_succeed(&process).await;
    let token = process.app().create("ann").await;
    let requests = [
        ("PUT", "create/ann?ip=10.0.0.1".to_owned(), ""),
        ("GET", format!("get/{token}"), ""),
        ("POST", format!("set/{token}"), r#"{"a":2}"#),
        ("GET", "activity?dt=60".to_owned(), ""),
        ("DELETE", format!("kill/{token}"), ""),
        ("DELETE", "killsoid/ann".to_owned(), ""),
        ("DELETE", "killall".to_owned(), ""),
    ];
    let nested = "*1\r\n".repeat(200) + ":1\r\n";
    let connected = || -> u64 {
        let stats: String = redis.ask("INFO stats");
        let count = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        count.and_then(|count| count.parse().ok()).expect("a number")
    };
    let malformed = MALFORMED.into_iter().chain([&*nested]).map(|reply| (reply, true));
    for (reply, malformed) in malformed.chain(UNEXPECTED.map(|reply| (reply, false))) {
        proxy.replace_replies(Some(reply));
        let before = connected();
        for (method, path, body) in &requests {
            let answer = process.ask(method, &format!("/test-app/{path}"), body).await;
            assert_eq!(answer.status, 503, "{reply:?} to {method} {path}: {}", answer.body);
            assert_unavailable(&answer);
        }
        // Each malformed reply makes the service replace its connection. The last replacement may still be missing.
        let made = connected() - before;
        assert!(!malformed || made >= requests.len() as u64 - 1, "{reply:?}: {made}");
    }
    // A batch that removed less than its limit and still claims that more is left.
    for (reply, path) in [
        ("*2\r\n:0\r\n:5\r\n", "killsoid/ann"),
        ("*3\r\n:1\r\n:1\r\n:1\r\n", "killsoid/ann"),
        ("*3\r\n:1\r\n:1\r\n:1\r\n", "killall"),
    ] {
        proxy.replace_replies(Some(reply));
        assert_unavailable(&process.ask("DELETE", &format!("/test-app/{path}"), "").await);
    }
    // A list page that does not advance; and replies to soid of a wrong shape.
    for (reply, path) in [
        ("*2\r\n:1\r\n$12\r\n5 aaaaaaaaaa\r\n", "soapp?dt=60"),
        (":1\r\n", "soid/ann"),
        ("*0\r\n", "soid/ann"),
        ("*1\r\n:0\r\n", "soid/ann"),
    ] {
        proxy.replace_replies(Some(reply));
        assert_unavailable(&process.ask("GET", &format!("/test-app/{path}"), "").await);
    }
    proxy.replace_replies(None);
    assert_all_succeed(&process).await;
    let log = stop(process);
    assert!(log.contains("replies what no script replies"), "{log}");
    assert!(!log.contains(&token) && log.lines().count() < 20, "{log}");
}

/// A one-node cluster that redirects every command to an unusable address. The log must not have a line per request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_redirect_is_logged_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::with(&["--cluster-enabled", "yes"]);
    let proxy = ReplyProxy::to(redis.port()).await;
    // The node announces the proxy's port as its own.
    let () = redis.ask(&format!("CONFIG SET cluster-announce-port {}", proxy.address.port()));
    let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
    let () = redis.ask(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
    let mut connection = Client::open(redis.url())
        .expect("a URL")
        .get_connection()
        .expect("a connection to Redis");
    eventually("the cluster serves", || {
        let info: String = cmd("CLUSTER").arg("INFO").query(&mut connection).ok()?;
        info.contains("cluster_state:ok").then_some(())
    });
    let url = format!("redis://{}", proxy.address);
    let args = ["--redis-url", &url, "--redis-mode", "cluster", "--timeout", "0.3"];
    let process = Arc::new(Process::start(folder.path(), &args));
    let create = async || process.ask("PUT", "/test-app/create/ann?ip=10.0.0.1", "").await;
    await_success(&create).await;
    for moved in [
        "-MOVED 1 :1\r\n",
        "-MOVED 1 \r\n",
        "-MOVED 1 127.0.0.1:1\r\n",
        "-MOVED 1 ?:1\r\n",
    ] {
        proxy.replace_replies(Some(moved));
        for _ in 0..5 {
            assert_unavailable(&create().await);
        }
    }
    proxy.replace_replies(None);
    await_success(&create).await;
    let log = stop(process);
    assert!(log.contains("MOVED") || log.contains("is away"), "{log}");
    assert!(log.lines().count() < 20, "{log}");
}

async fn await_success(create: &impl AsyncFn() -> crate::support::Answer) {
    crate::support::eventually("a create succeeds", async || create().await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_of_a_redis_in_protected_mode_is_logged() {
    const DENIED: &[u8] =
        b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is \
        set for the default user. In this mode connections are only accepted from the loopback interface.\r\n";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // Redis sends this before it reads anything.
            let _ = client.write_all(DENIED).await;
        }
    });
    let url = format!("redis://{address}");
    let process = Arc::new(Process::start(folder.path(), &["--redis-url", &url, "--timeout", "1"]));
    assert_all_unavailable(&process, NO_TOKEN).await;
    let log = stop(process);
    let line = log
        .lines()
        .find(|line| line.contains("Redis is unreachable"))
        .unwrap_or_default();
    assert!(
        line.contains("DENIED: it is in protected mode") && line.contains(&address.to_string()),
        "{log}"
    );
}
