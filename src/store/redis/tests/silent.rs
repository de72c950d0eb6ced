//! Connections that die silently, as behind firewalls and load balancers, and requests that are dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener as Listener, TcpStream},
};

use super::*;

/// A TCP proxy whose connections can become black holes: open, but dropping all bytes.
struct BlackHoleProxy {
    port: u16,
    /// The number of connections made, and how many of the first of them are black holes.
    made: Arc<AtomicU64>,
    dead: Arc<AtomicU64>,
}

impl BlackHoleProxy {
    async fn to(server: &Server) -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), server.port);
        let (made, dead) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (count, holes) = (made.clone(), dead.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                for (mut from, mut to) in [(from_near, to_far), (from_far, to_near)] {
                    let holes = holes.clone();
                    tokio::spawn(async move {
                        let mut bytes = [0; 4096];
                        while let Ok(read @ 1..) = from.read(&mut bytes).await {
                            let passes = number >= holes.load(Ordering::SeqCst);
                            if passes && to.write_all(&bytes[..read]).await.is_err() {
                                break;
                            }
                        }
                    });
                }
            }
        });
        Self { port, made, dead }
    }

    /// Makes black holes of all present connections.
    fn drop_all_bytes(&self) {
        self.dead.store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// A store behind the proxy, with several connections.
    fn open(&self) -> Redis {
        Redis::open(self.options(), Arc::new(Metrics::new())).unwrap()
    }

    fn options(&self) -> Options {
        let mut options = options(&format!("redis://127.0.0.1:{}", self.port));
        options.connections = 3;
        options.timeout = Duration::from_secs(4);
        options
    }
}

#[tokio::test]
async fn a_read_on_a_dead_connection_is_retried_on_another() {
    let server = Server::start();
    let proxy = BlackHoleProxy::to(&server).await;
    let store = Arc::new(proxy.open());
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    for _ in 0..3 {
        // Opens as many connections as are allowed.
        futures_util::future::join_all((0..9).map(|_| store.peek(app(), token('a'), NOW))).await;
        proxy.drop_all_bytes();
        let reads: Vec<_> = (0..9)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.peek(app(), token('a'), NOW).await })
            })
            .collect();
        for read in reads {
            assert!(read.await.unwrap().unwrap().is_some());
        }
    }
}

/// Flushes of buffered reads on connections that have died unnoticed.
#[tokio::test]
async fn a_get_does_not_wait_for_a_flush_on_a_dead_connection() {
    let server = Server::start();
    let proxy = BlackHoleProxy::to(&server).await;
    let mut options = proxy.options();
    options.touch = Duration::from_secs(2);
    let deadline = options.timeout;
    let store = Arc::new(Redis::open(options, Arc::new(Metrics::new())).unwrap());
    // Tokens in different parts of the buffer, which are flushed one after the other.
    let letters = ['0', '8', 'A', 'H', 'P', 'Z', 'a', 'h', 'p', 'z'];
    for letter in letters {
        store.create(app(), token(letter), record("u", "")).await.unwrap();
    }
    let mut reads = 0;
    for _ in 0..2 {
        let get = |letter| tokio::time::timeout(deadline, store.get(app(), token(letter), NOW));
        for letter in letters {
            get(letter)
                .await
                .expect("a reply in time")
                .unwrap()
                .expect("it is there");
        }
        proxy.drop_all_bytes();
        let again = futures_util::future::join_all(letters.map(get)).await;
        reads += 2;
        for session in again {
            let session = session.expect("a reply in time").unwrap().expect("it is there");
            // The count before this read.
            assert_eq!(session.r, reads);
        }
        // A list of the app waits for the flush of its own reads.
        proxy.drop_all_bytes();
        let query = ListQuery {
            since: 0,
            after: None,
            now: NOW,
        };
        let list = tokio::time::timeout(deadline, store.soapp(app(), query, 100)).await;
        assert!(list.expect("a reply in time").is_ok());
    }
}

#[tokio::test]
async fn a_set_after_a_silence_uses_a_live_connection() {
    let server = Server::start();
    let proxy = BlackHoleProxy::to(&server).await;
    let store = proxy.open();
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    proxy.drop_all_bytes();
    // Twice the idle time before a connection is pinged, plus the longest time for the reply.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let set = store.set(app(), token('a'), changes(r#"{"a":1}"#), NOW).await;
    assert_eq!(set.unwrap().unwrap().w, 2);
}

#[tokio::test]
async fn a_live_idle_connection_is_kept() {
    let server = Server::start();
    let proxy = BlackHoleProxy::to(&server).await;
    let store = proxy.open();
    store.ping().await.unwrap();
    let made = proxy.made.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(6)).await;
    store.ping().await.unwrap();
    assert_eq!(proxy.made.load(Ordering::SeqCst), made);
}

#[tokio::test]
async fn a_dropped_set_or_create_is_not_sent_but_a_kill_completes() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    for letter in ['a', 'b'] {
        store.create(app(), token(letter), record("u", "")).await.unwrap();
    }
    // Each future is polled once and dropped before anything is sent.
    let set = store.set(app(), token('a'), changes(r#"{"a":1}"#), NOW);
    assert!(set.now_or_never().is_none());
    let create = store.create(app(), token('c'), record("u", ""));
    assert!(create.now_or_never().is_none());
    let kill = store.kill(app(), token('b'), NOW);
    assert!(kill.now_or_never().is_none());
    for _ in 0..500 {
        if raw.send::<u64>(&["EXISTS", &format!("rs:forum:{}", "b".repeat(64))]) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = soid(&store, id("u"), NOW).await;
    assert_eq!(left.iter().map(|session| session.w).collect::<Vec<_>>(), [1]);
}
