//! A Redis that answers nonsense, and one that says why it does not serve: never taken for an answer, and told in the log.

use std::sync::Arc;

use deadpool_redis::redis::{Client, cmd};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{Redis, all_unavailable, all_well, stop, unavailable};
use crate::{
    process::{Process, eventually},
    support::{NO_TOKEN, proxy::Proxy},
};

/// Replies that cannot be read.
const MALFORMED: [&str; 4] = [":abc\r\n", ":99999999999999999999\r\n", "$3\r\nabcXX", "*1\r\n$-1\n"];

/// Replies that are well-formed, but none of those that the commands have.
const NONSENSE: [&str; 8] = [
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
async fn nonsense_is_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::running();
    let proxy = Proxy::to(redis.port()).await;
    let url = format!("redis://{}", proxy.address);
    let process = Arc::new(Process::start(folder.path(), &["--redis-url", &url]));
    all_well(&process).await;
    let token = process.app().create("somebody").await;
    let requests = [
        ("PUT", "create/somebody?ip=10.0.0.1".to_owned(), ""),
        ("GET", format!("get/{token}"), ""),
        ("POST", format!("set/{token}"), r#"{"a":2}"#),
        ("GET", "activity?dt=60".to_owned(), ""),
        ("DELETE", format!("kill/{token}"), ""),
        ("DELETE", "killsoid/somebody".to_owned(), ""),
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
    for (nonsense, malformed) in malformed.chain(NONSENSE.map(|reply| (reply, false))) {
        proxy.reply(Some(nonsense));
        let before = connected();
        for (method, path, body) in &requests {
            let answer = process.ask(method, &format!("/test-app/{path}"), body).await;
            assert_eq!(answer.status, 503, "{nonsense:?} to {method} {path}: {}", answer.body);
            unavailable(&answer);
        }
        // Each has ended its connection, but for the last one as far as can be seen.
        let made = connected() - before;
        assert!(!malformed || made >= requests.len() as u64 - 1, "{nonsense:?}: {made}");
    }
    // A batch that was not full and says that more is left.
    for (reply, path) in [
        ("*2\r\n:0\r\n:5\r\n", "killsoid/somebody"),
        ("*3\r\n:1\r\n:1\r\n:1\r\n", "killsoid/somebody"),
        ("*3\r\n:1\r\n:1\r\n:1\r\n", "killall"),
    ] {
        proxy.reply(Some(reply));
        unavailable(&process.ask("DELETE", &format!("/test-app/{path}"), "").await);
    }
    // A list that stands still; an id with more sessions than any; one that is said to have none, in an empty list.
    for (reply, path) in [
        ("*2\r\n:1\r\n$12\r\n5 aaaaaaaaaa\r\n", "soapp?dt=60"),
        (":1\r\n", "soid/somebody"),
        ("*0\r\n", "soid/somebody"),
        ("*1\r\n:0\r\n", "soid/somebody"),
    ] {
        proxy.reply(Some(reply));
        unavailable(&process.ask("GET", &format!("/test-app/{path}"), "").await);
    }
    proxy.reply(None);
    all_well(&process).await;
    let log = stop(process);
    assert!(log.contains("replies what no script replies"), "{log}");
    assert!(!log.contains(&token) && log.lines().count() < 20, "{log}");
}

/// A cluster of one node that sends everybody elsewhere. The log must not have a line for each request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_sent_nowhere_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::with(&["--cluster-enabled", "yes"]);
    let proxy = Proxy::to(redis.port()).await;
    // What the node tells of itself leads to the proxy.
    let () = redis.ask(&format!("CONFIG SET cluster-announce-port {}", proxy.address.port()));
    let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
    let () = redis.ask(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
    let mut connection = Client::open(redis.url())
        .expect("a URL")
        .get_connection()
        .expect("it runs");
    eventually("the cluster serves", || {
        let info: String = cmd("CLUSTER").arg("INFO").query(&mut connection).ok()?;
        info.contains("cluster_state:ok").then_some(())
    });
    let url = format!("redis://{}", proxy.address);
    let args = ["--redis-url", &url, "--redis-mode", "cluster", "--timeout", "0.3"];
    let process = Arc::new(Process::start(folder.path(), &args));
    let create = async || process.ask("PUT", "/test-app/create/somebody?ip=10.0.0.1", "").await;
    eventually_well(&create).await;
    for moved in [
        "-MOVED 1 :1\r\n",
        "-MOVED 1 \r\n",
        "-MOVED 1 127.0.0.1:1\r\n",
        "-MOVED 1 ?:1\r\n",
    ] {
        proxy.reply(Some(moved));
        for _ in 0..5 {
            unavailable(&create().await);
        }
    }
    proxy.reply(None);
    eventually_well(&create).await;
    let log = stop(process);
    assert!(log.contains("MOVED") || log.contains("is away"), "{log}");
    assert!(log.lines().count() < 20, "{log}");
}

async fn eventually_well(create: &impl AsyncFn() -> crate::support::Answer) {
    crate::support::eventually("it serves", async || create().await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_in_protected_mode_is_told_in_its_own_words() {
    const DENIED: &[u8] =
        b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is \
        set for the default user. In this mode connections are only accepted from the loopback interface.\r\n";
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // As Redis does, without a look at what the client sends.
            let _ = client.write_all(DENIED).await;
        }
    });
    let url = format!("redis://{address}");
    let process = Arc::new(Process::start(folder.path(), &["--redis-url", &url, "--timeout", "1"]));
    all_unavailable(&process, NO_TOKEN).await;
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
