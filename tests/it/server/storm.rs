//! Ten thousand idle and two hundred trickling connections while other clients are served.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::process::{PATIENCE, Process};

const IDLE: usize = 10_000;
const SLOW: usize = 200;
/// Kept small: a process has about 28,000 local ports for connections to one address.
const SERVED: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_served_beside_thousands_of_idle_connections() {
    let limits = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: Some(IDLE as u64 + 2000),
        ..limits
    };
    setrlimit(Resource::Nofile, wanted).unwrap_or_else(|_| panic!("the limit of open files is too low: {limits:?}"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = Process::start(folder.path(), &[]);
    let app = process.app();
    let token = app.create("ann").await;
    let before = process.memory();

    let mut idle = Vec::with_capacity(IDLE);
    while idle.len() < IDLE {
        idle.push(TcpStream::connect(process.address()).await.expect("a connection"));
    }
    let mut slow = Vec::with_capacity(SLOW);
    for _ in 0..SLOW {
        let mut stream = TcpStream::connect(process.address()).await.expect("a connection");
        stream.write_all(b"GET /test-app/get/").await.expect("a write");
        slow.push(stream);
    }
    for served in 0..SERVED {
        if served % 100 == 0 {
            for stream in &mut slow {
                stream.write_all(b"a").await.expect("a write");
            }
        }
        let answer = tokio::time::timeout(PATIENCE, app.get(&token));
        assert!(answer.await.expect("an answer in time").is_some());
    }
    let each = (process.memory() - before) * 1024 / (IDLE + SLOW) as u64;
    assert!(each < 20_000, "{each} bytes per idle connection");
    drop((idle, slow));
    // Closing all of them at once disturbs no other client.
    sleep(Duration::from_millis(100)).await;
    assert!(app.get(&token).await.is_some());
    drop(app);
    process.stop();
}
