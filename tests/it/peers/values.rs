//! Values of `d` pass unchanged between service and peer.

use super::{New, Pair, Version, for_every_peer};

for_every_peer![
    values_of_every_type_pass_both_ways,
    numbers_that_a_peer_rounds_stay_exact_in_redis,
];

/// Values as JavaScript formats them; the service must keep them byte by byte.
const VALUES: &[&str] = &[
    "true",
    "false",
    "0",
    "-1",
    "42",
    "9007199254740991",
    "-9007199254740991",
    "0.1",
    "-2.5",
    "123456789.12345679",
    "1e+21",
    "1.7976931348623157e+308",
    "5e-324",
    r#""""#,
    r#""text""#,
    r#""Grüße, 안녕하세요, 😀""#,
    r#""a \"quote\", a \\, a /, a\ttab,\na line""#,
    r#""\u0000\u001f""#,
    r#""true""#,
    r#""1""#,
    r#""{\"not\":\"parsed\"}""#,
];

async fn values_of_every_type_pass_both_ways(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        let pairs: Vec<_> = VALUES
            .iter()
            .enumerate()
            .map(|(n, value)| format!(r#""k{n}":{value}"#))
            .collect();
        let all = format!("{{{}}}", pairs.join(","));
        let token = maker
            .create(New {
                d: &all,
                ..New::of("ann")
            })
            .await;
        assert_eq!(user.get(&token).await.expect("alive").d(), all);
        // A set of one key rewrites the others.
        let after = format!(r#"{},"new":1}}"#, &all[..all.len() - 1]);
        assert_eq!(user.set(&token, r#"{"new":1}"#).await.expect("alive").d(), after);
        assert_eq!(maker.get(&token).await.expect("alive").d(), after);
        for value in VALUES {
            let change = format!(r#"{{"new":{value}}}"#);
            let after = format!(r#"{},"new":{value}}}"#, &all[..all.len() - 1]);
            assert_eq!(maker.set(&token, &change).await.expect("alive").d(), after);
            assert_eq!(user.get(&token).await.expect("alive").d(), after);
        }
        assert_eq!(user.kill(&token).await, 1);
    }
    pair.assert_no_keys_left();
}

async fn numbers_that_a_peer_rounds_stay_exact_in_redis(version: Version) {
    let pair = Pair::start(version).await;
    let d = r#"{"big":9007199254740993,"max":18446744073709551615,"min":-9223372036854775808,"one":1.0}"#;
    let token = pair.service.create(New { d, ..New::of("ann") }).await;
    let rounded = r#"{"big":9007199254740992,"max":18446744073709552000,"min":-9223372036854776000,"one":1}"#;
    assert_eq!(pair.peer.get(&token).await.expect("alive").d(), rounded);
    // The peer's get did not write its rounded values.
    assert_eq!(pair.service.get(&token).await.expect("alive").d(), d);
    assert_eq!(pair.service.kill(&token).await, 1);
    pair.assert_no_keys_left();
}
