//! Hash fields that neither side knows, as a newer version of the service writes them, survive both sides.

use std::collections::BTreeMap;

use super::{New, Pair, Version, check::run, for_every_peer};
use crate::{check::finds, support::redis_server};

for_every_peer![further_fields_survive_the_service_and_the_peer];

const FURTHER: [(&str, &str); 2] = [("created", "1799999000"), ("ua", "Browser/1.0")];

async fn further_fields_survive_the_service_and_the_peer(version: Version) {
    let pair = Pair::start(version).await;
    for (maker, user) in pair.directions() {
        for no_resave in [false, true] {
            let token = maker
                .create(New {
                    no_resave,
                    d: r#"{"a":1}"#,
                    ..New::of("a:b")
                })
                .await;
            let key = pair.key(&format!("forum:{token}"));
            for (name, value) in FURTHER {
                assert_eq!(redis_server::ask::<u64>(&format!("HSET {key} {name} {value}")), 1);
            }
            for (side, change) in [(user, r#"{"b":2}"#), (maker, r#"{"a":null,"b":null}"#)] {
                pair.advance(2);
                side.get(&token).await.expect("alive");
                pair.advance(2);
                side.set(&token, change).await.expect("alive");
                let hash: BTreeMap<String, String> = redis_server::ask(&format!("HGETALL {key}"));
                for (name, value) in FURTHER {
                    assert_eq!(hash.get(name).map(String::as_str), Some(value), "{name} in {hash:?}");
                }
            }
            assert_eq!(maker.soid("a:b").await.len(), 1);
            finds(&run(&pair, &["--repair"]), 0, &[], true);
            assert_eq!(redis_server::ask::<u64>(&format!("HEXISTS {key} ua")), 1);
            assert_eq!(user.kill(&token).await, 1);
            pair.assert_no_keys_left();
        }
    }
}
