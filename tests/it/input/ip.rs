//! Tests of the query parameter `ip` of create.

use super::{
    query::{create, created},
    server,
};
use crate::support::raw;

const WRONG_IP: &str = "Invalid ip format";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ip_has_up_to_39_characters_or_is_an_ip_address() {
    let server = server().await;
    let of_39 = "x".repeat(39);
    let wide = "한".repeat(39);
    for (sent, ip) in [
        ("1", "1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("%3A%3A1", "::1"),
        ("fe80::1%25eth0", "fe80::1%eth0"),
        ("unknown", "unknown"),
        ("10.0.0.1+via+proxy", "10.0.0.1 via proxy"),
        (
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        ),
        // 45 characters, the longest IP address without a zone.
        (
            "0000:0000:0000:0000:0000:ffff:255.255.255.255",
            "0000:0000:0000:0000:0000:ffff:255.255.255.255",
        ),
        (&of_39, &of_39),
        (&wide, &wide),
    ] {
        assert_eq!(created(&server, &format!("ip={sent}")).await.ip, ip);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ip_address_is_stored_without_its_port_and_with_its_zone() {
    let server = server().await;
    let full = "2a02:8109:8a40:1f4c:9d5b:37f2:aa0b:4c11";
    let zone = "fe80:0:0:0:a202:b3ff:fe1e:8329%enp0s31f6";
    let long = format!("fe80::1%{}", "x".repeat(64));
    for (sent, ip) in [
        ("203.0.113.7:51234", "203.0.113.7"),
        ("203.0.113.7:0", "203.0.113.7"),
        (&format!("[{full}]:51234"), full),
        (&format!("[{full}]"), full),
        ("[::1]:80", "::1"),
        ("[fe80::1%eth0]:80", "fe80::1%eth0"),
        (&format!("[{zone}]:65535"), zone),
        (zone, zone),
        (&long, &long),
        // Stored unchanged: an IPv6 address that only seems to have a port, and texts that are no address with a port.
        ("::1:8080", "::1:8080"),
        ("203.0.113.7:", "203.0.113.7:"),
        ("203.0.113.7:65536", "203.0.113.7:65536"),
        ("203.0.113.7:80x", "203.0.113.7:80x"),
        ("203.0.113.7:+80", "203.0.113.7:+80"),
        ("[::1]80", "[::1]80"),
        ("[::1", "[::1"),
        ("[]:80", "[]:80"),
        ("host:80", "host:80"),
        ("[203.0.113.7]:80", "[203.0.113.7]:80"),
    ] {
        let escaped = sent
            .replace('%', "%25")
            .replace('+', "%2B")
            .replace('[', "%5B")
            .replace(']', "%5D");
        assert_eq!(created(&server, &format!("ip={escaped}")).await.ip, ip);
    }
    for ip in [
        format!("fe80::1%25{}", "x".repeat(65)),
        format!("{full}%25"),
        format!("{full}%25a%0Ab"),
        format!("{}%25eth0", "x".repeat(40)),
        format!("[{full}]:65536"),
        format!("[{full}]:51234x"),
    ] {
        let answer = create(&server, &format!("ip={ip}")).await;
        answer.refused(400, "invalidFormat", WRONG_IP);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_requires_an_ip() {
    let server = server().await;
    for query in ["", "ip", "ip=", "ip=&ttl=10", "IP=::1", "ttl=10", "xip=::1", "ip2=::1"] {
        create(&server, query)
            .await
            .refused(400, "missingParameter", "No ip supplied");
    }
    let none = raw::request(&server, "PUT /forum/create/ann").await;
    none.refused(400, "missingParameter", "No ip supplied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_ip_is_refused() {
    let server = server().await;
    for ip in [
        "x".repeat(40),
        "%ED%95%9C".repeat(40),
        // Longer than 39 characters, and not an IP address.
        "0000:0000:0000:0000:0000:ffff:255.255.255.256".into(),
        "%00".into(),
        "1%0A".into(),
        "1%092".into(),
        "1%7F".into(),
        "1%C2%85".into(),
        "%zz".into(),
        "%".into(),
        "1%F".into(),
        "%FF".into(),
        "::1&ip=::1".into(),
        "::1&ip=".into(),
        "&ip=::1".into(),
        "::1&%69p=::2".into(),
    ] {
        create(&server, &format!("ip={ip}"))
            .await
            .refused(400, "invalidFormat", WRONG_IP);
    }
}
