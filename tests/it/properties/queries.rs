//! Query parameters are accepted or refused as the contract says.

use proptest::{collection::vec, prelude::*, string::string_regex};

use super::{
    hold::hold,
    query_model::{auth_keys, create, seconds, single, unset},
    router::TestRouter,
    texts::damaged,
};
use crate::support::{NO_TOKEN, Session, json};

fn queries() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![
        "ip",
        "ttl",
        "dt",
        "no_resave",
        "unset",
        "d",
        "touch",
        "%69p",
        "+ip",
        "IP",
        "x",
        "",
    ]);
    let value = prop_oneof![
        4 => prop::sample::select(vec![
            "10.0.0.1", "::1", "", "10", "9", "7200", "2147483647", "2147483648", "000000000000000000000010",
            "12abc", "+10", "1e2", "-1", "%31%30", "true", "1", "0", "a", "b", "c%20d", "c+d", "a,b", "a,A", "role,,n",
            "%C3%A9", "%00", "%zz", "%",
            "2001:0db8:0000:0000:0000:0000:255.255.255.255", "%E2%80%A8", "10.0.0.1:80", "%5B::1%5D:80", "[::1]:65536",
            "fe80::1%25eth0", "[fe80::1%25eth0]",
        ]).prop_map(ToOwned::to_owned).boxed(),
        1 => string_regex("[!-~é]{0,45}|[0-9]{1,25}").expect("an expression").boxed(),
    ];
    let pair = (key, value, 0..8u8).prop_map(|(key, value, bare)| {
        if bare == 0 {
            key.into()
        } else {
            format!("{key}={value}")
        }
    });
    let query = (
        prop::sample::select(vec!["", "ip=10.0.0.1", "ip=::1&ttl=60"]),
        vec(pair, 0..5),
    );
    damaged(query.prop_map(|(first, mut pairs)| {
        pairs.insert(0, first.into());
        pairs.join("&").into_bytes()
    }))
}

#[test]
fn query_parameters_follow_the_contract() {
    const DATA: &str = r#"{"a":1,"b":"x y","c d":true,"é":"é","role":"\u00e9"}"#;
    let router = TestRouter::new();
    let reader = router.create(DATA);
    let refused = |why: String| (400, why);
    hold("query", 2, queries(), |input| {
        let Ok(query) = std::str::from_utf8(input) else { return };
        if query.contains('#') {
            return;
        }
        let Some(created) = router.ask("PUT", &format!("/forum/create/carl?{query}"), "", "") else {
            return;
        };
        match create(query) {
            Ok((ip, ttl, no_resave)) => {
                created.expect("a session");
                let session = router.session("forum", "carl");
                assert_eq!((session.ip, session.ttl, session.no_resave), (ip, ttl, no_resave));
                router
                    .ask("DELETE", "/forum/killsoid/carl", "", "")
                    .expect("a request")
                    .expect("a count");
            }
            Err(why) => assert_eq!(created.map(drop), Err(refused(why))),
        }

        let dt = single(query, "dt").ok().flatten().and_then(|text| seconds(&text));
        let expected = dt
            .map(drop)
            .ok_or_else(|| refused("invalidValue: dt must be a positive integer >= 10".into()));
        for route in ["activity", "soapp"] {
            let answer = router
                .ask("GET", &format!("/forum/{route}?{query}"), "", "")
                .expect("as before");
            assert_eq!(answer.map(drop), expected, "{route}");
        }

        let expected = unset(query);
        let answer = router
            .ask("POST", &format!("/forum/set/{NO_TOKEN}?{query}"), "", "")
            .expect("as before");
        assert_eq!(
            answer.map(|(_, body)| assert_eq!(body, "{}")),
            expected.clone().map(drop).map_err(refused)
        );
        if let Ok(keys) = expected {
            let token = router.create(DATA);
            let answer = router
                .ask("POST", &format!("/forum/set/{token}?{query}"), "", "{}")
                .expect("as before");
            let (_, answer) = answer.expect("a session");
            let mut left = json(DATA);
            left.as_object_mut()
                .expect("an object")
                .retain(|key, _| !keys.contains(key));
            let session = Session::parse(&answer).expect("a session");
            let d = if session.d().is_empty() {
                json("{}")
            } else {
                json(session.d())
            };
            assert_eq!(d, left);
            router
                .ask("DELETE", &format!("/forum/kill/{token}"), "", "")
                .expect("a request")
                .expect("a count");
        }

        let answer = router
            .ask("GET", &format!("/forum/auth?{query}"), &reader, "")
            .expect("as before");
        match auth_keys(query) {
            Ok(keys) => {
                let (headers, _) = answer.expect("a session");
                for key in ["a", "b", "role", "none"] {
                    let value = [("a", "1"), ("b", "x%20y"), ("role", "%C3%A9")]
                        .into_iter()
                        .find(|(known, _)| *known == key);
                    let value = value
                        .filter(|_| keys.iter().any(|wanted| wanted == key))
                        .map(|(_, value)| value);
                    let header = headers.get(format!("x-session-data-{key}"));
                    assert_eq!(header.map(|header| header.to_str().expect("a text")), value, "{key}");
                }
            }
            Err(why) => assert_eq!(answer.map(drop), Err(refused(why))),
        }
    });
}
