//! Redis with TLS: a trusted server is used, an untrusted one counts as unreachable.

use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use super::{assert_all_succeed, assert_all_unavailable, stop};
use crate::{
    process::{Process, eventually, finish, free_port},
    support::NO_TOKEN,
};

/// A Redis that accepts TLS only, with a certificate of a private authority.
struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    /// `client_certificates` is "yes" if clients must present a certificate, else "no".
    fn start(folder: &Path, client_certificates: &str) -> Self {
        create_certificates(folder);
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--tls-cert-file", "redis.pem", "--tls-key-file", "redis.key"]);
        command.args([
            "--tls-ca-cert-file",
            "ca.pem",
            "--tls-auth-clients",
            client_certificates,
        ]);
        command.args(["--save", "", "--appendonly", "no"]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server starts");
        eventually("Redis", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, child }
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates an authority, and certificates for a server `localhost` and for a client that it has signed.
pub(super) fn create_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split(' '))
            .current_dir(folder)
            .stderr(Stdio::null());
        assert!(command.status().expect("openssl is installed").success(), "{arguments}");
    };
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").expect("a file");
    openssl("req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=authority -keyout ca.key -out ca.pem");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout redis.key -out redis.csr");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=sessions -keyout client.key -out client.csr");
    openssl("x509 -req -days 1 -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out client.pem");
    openssl("x509 -req -days 1 -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out redis.pem");
}

/// Starts the service; with `trusting` the private authority takes the place of the system's authorities.
fn start(folder: &Path, url: &str, trusting: bool) -> Arc<Process> {
    let mut command = Process::command(folder, &["--redis-url", url]);
    if trusting {
        command.env("SSL_CERT_FILE", folder.join("ca.pem"));
    }
    Arc::new(Process::spawn(command))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_with_a_trusted_certificate_is_used() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path(), "no");
    let process = start(folder.path(), &redis.url("localhost"), true);
    assert_all_succeed(&process).await;
    stop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_with_an_untrusted_certificate_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path(), "no");
    // An unknown authority, and a trusted one with a wrong host name.
    for (host, trusting) in [("localhost", false), ("127.0.0.1", true)] {
        let process = start(folder.path(), &redis.url(host), trusting);
        assert_all_unavailable(&process, NO_TOKEN).await;
        let log = stop(process);
        let why = log.lines().find(|line| line.contains("Redis is unreachable"));
        assert!(why.is_some_and(|line| line.contains("certificate")), "{log}");
    }
}

/// Starts the service with these options.
fn start_with(folder: &Path, url: &str, args: &[&str]) -> Arc<Process> {
    let mut all = vec!["--redis-url", url];
    all.extend(args);
    Arc::new(Process::start(folder, &all))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_is_trusted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path(), "no");
    let process = start_with(folder.path(), &redis.url("localhost"), &["--redis-ca", "ca.pem"]);
    assert_all_succeed(&process).await;
    stop(process);
    // An unknown authority, and a trusted one with a wrong host name.
    for (host, authority) in [("localhost", "client.pem"), ("127.0.0.1", "ca.pem")] {
        let process = start_with(folder.path(), &redis.url(host), &["--redis-ca", authority]);
        assert_all_unavailable(&process, NO_TOKEN).await;
        let log = stop(process);
        assert!(
            log.lines()
                .any(|line| line.contains("Redis is unreachable") && line.contains("certificate")),
            "{log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_presented() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path(), "yes");
    let (url, own) = (
        redis.url("localhost"),
        [
            "--redis-ca",
            "ca.pem",
            "--redis-cert",
            "client.pem",
            "--redis-key",
            "client.key",
        ],
    );
    let process = start_with(folder.path(), &url, &own);
    assert_all_succeed(&process).await;
    stop(process);
    let process = start_with(folder.path(), &url, &own[..2]);
    assert_all_unavailable(&process, NO_TOKEN).await;
    assert!(stop(process).contains("Redis is unreachable"));
}

/// The one line by which the service refuses to start with these options.
fn refusal(folder: &Path, args: &[&str]) -> String {
    let all = [&["--redis-url", "rediss://127.0.0.1:1"], args].concat();
    let line = finish(Process::command(folder, &all)).refusal(2).to_owned();
    assert!(!line.contains("PRIVATE"), "{line}");
    line
}

#[test]
fn unusable_certificate_files_are_refused_at_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    create_certificates(folder);
    let with = |certificate, key| refusal(folder, &["--redis-cert", certificate, "--redis-key", key]);
    assert!(with("client.pem", "redis.key").ends_with("redis.key is not the key of client.pem"));
    assert!(with("client.pem", "client.pem").ends_with("client.pem holds no plain private key"));
    assert!(with("client.key", "client.key").ends_with("client.key holds no certificate in PEM"));
    assert!(refusal(folder, &["--redis-ca", "client.key"]).ends_with("client.key holds no certificate in PEM"));
    // Valid PEM whose content is not a certificate.
    let pem = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    std::fs::write(folder.join("odd.pem"), pem).expect("a file");
    assert!(with("odd.pem", "client.key").contains("odd.pem with client.key: "));
    assert!(refusal(folder, &["--redis-ca", "odd.pem"]).contains("odd.pem: "));
}

/// Starts a sentinel without TLS that monitors a master with TLS at this host.
fn plain_sentinel(folder: &Path, master: &Redis, host: &str, announces_names: bool) -> Redis {
    let port = free_port();
    let names = if announces_names { "yes" } else { "no" };
    let lines = format!(
        "port {port}\nbind 127.0.0.1\nsentinel resolve-hostnames {names}\nsentinel announce-hostnames {names}\n\
         tls-cert-file redis.pem\ntls-key-file redis.key\ntls-ca-cert-file ca.pem\ntls-auth-clients no\n\
         tls-replication yes\nsentinel monitor mymaster {host} {} 1\n",
        master.port
    );
    let file = format!("sentinel-{port}.conf");
    std::fs::write(folder.join(&file), lines).expect("a file");
    let mut command = Command::new("redis-server");
    command.args([&file, "--sentinel"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("redis-server starts");
    eventually("a sentinel", || TcpStream::connect(("127.0.0.1", port)).ok());
    Redis { port, child }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_with_tls_is_found_through_sentinels_without_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let master = Redis::start(folder, "no");
    let named = plain_sentinel(folder, &master, "localhost", true);
    let bare = plain_sentinel(folder, &master, "127.0.0.1", false);
    let process = |sentinel: &Redis, args: &[&str]| {
        let url = format!("redis://127.0.0.1:{}", sentinel.port);
        let all = [&["--redis-mode", "sentinel"], args].concat();
        start_with(folder, &url, &all)
    };
    let on = ["--redis-master-tls", "on", "--redis-ca", "ca.pem", "--cachetime", "1"];
    let well = process(&named, &on);
    assert_all_succeed(&well).await;
    stop(well);
    // The log names the server and the remedy.
    let at = format!("127.0.0.1:{}", master.port);
    for (args, hint) in [(&[][..], "--redis-master-tls"), (&on, "announce-hostnames")] {
        let process = process(&bare, args);
        assert_all_unavailable(&process, NO_TOKEN).await;
        let log = stop(process);
        let why = log
            .lines()
            .find(|line| line.contains("Redis is unreachable"))
            .unwrap_or_default();
        assert!(why.contains(hint) && why.contains(&at), "{log}");
    }
}
