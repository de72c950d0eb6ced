//! The scripts end and renew sessions by the rules of [`Record::expired`], [`Record::end`] and [`Record::renew`].

use std::cell::RefCell;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{
    super::scripts::{Script, Scripts},
    *,
};
use crate::session::properties::hold::hold;

const SESSIONS: &str = "rs:forum:_sessions";
const USERS: &str = "rs:forum:_users";
const ENDS: &str = "rs:SESSIONS";

fn token_text() -> String {
    "a".repeat(64)
}

fn hash() -> String {
    format!("rs:forum:{}", token_text())
}

/// `la`, `ttl`, `no_resave`, the second of a buffered read, and now, separated by spaces.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    // Mostly close together, so that equal and neighbouring seconds are frequent.
    let time = || {
        prop_oneof![
            20 => NOW - 3..NOW + 6,
            5 => NOW - 200..NOW + 200,
            1 => prop::sample::select(vec![0, 999_999_999_999_999]),
        ]
    };
    let ttl = prop_oneof![20 => 0..6u64, 5 => 0..300u64, 1 => 0..1_000_000_000_000_000u64];
    let fields = (time(), ttl, any::<bool>(), time(), NOW - 3..NOW + 8);
    fields.prop_map(|(la, ttl, no_resave, read, now)| {
        format!("{la} {ttl} {} {read} {now}", u8::from(no_resave)).into_bytes()
    })
}

fn parse(input: &[u8]) -> Option<(Record, Seconds, Seconds)> {
    let words: Vec<u64> = std::str::from_utf8(input)
        .ok()?
        .split(' ')
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    let [last_active, ttl, no_resave, read, now] = words.try_into().ok()?;
    let session = Record {
        ttl,
        last_active,
        no_resave: no_resave == 1,
        ..record("u", "")
    };
    Some((session, read, now))
}

/// What Redis holds of the session: `la` and `ttl`, its scores in `_sessions` and `_users`, and the second at which it
/// ends.
type State = Option<[u64; 5]>;

/// One Redis with one session in it.
struct Stage {
    raw: Raw,
    scripts: Scripts,
    touch: Script,
}

impl Stage {
    fn write(&mut self, record: &Record) {
        let _: () = self.raw.ask("FLUSHDB");
        let (la, ttl) = (record.last_active.to_string(), record.ttl.to_string());
        let fixed = u8::from(record.no_resave).to_string();
        let _: i64 = self.raw.send(&[
            "HSET",
            &hash(),
            "id",
            "u",
            "r",
            "1",
            "w",
            "1",
            "ip",
            "1",
            "la",
            &la,
            "ttl",
            &ttl,
            "no_resave",
            &fixed,
        ]);
        let end = (record.last_active + record.ttl).min(999_999_999_999_999);
        let _: i64 = self.raw.send(&["ZADD", SESSIONS, &la, &format!("{}:u", token_text())]);
        let _: i64 = self.raw.send(&["ZADD", USERS, &la, "u"]);
        let end = end.to_string();
        let _: i64 = self
            .raw
            .send(&["ZADD", ENDS, &end, &format!("forum:{}:u", token_text())]);
    }

    fn run<T: FromRedisValue>(&mut self, script: fn(&Self) -> &Script, keys: &[&str], args: &[String]) -> T {
        let mut call = script(self).by_source(&|cmd| {
            cmd.arg(keys.len()).arg(keys).arg(args);
        });
        call.take().query(&mut self.raw.0).unwrap()
    }

    fn state(&mut self) -> State {
        let (la, ttl): (Option<u64>, Option<u64>) = self.raw.send(&["HMGET", &hash(), "la", "ttl"]);
        let mut score = |key: &str, member: &str| -> Option<f64> { self.raw.send(&["ZSCORE", key, member]) };
        let scores = [
            score(SESSIONS, &format!("{}:u", token_text()))?,
            score(USERS, "u")?,
            score(ENDS, &format!("forum:{}:u", token_text()))?,
        ];
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "scores are whole seconds"
        )]
        let [sessions, users, end] = scores.map(|score| score as u64);
        Some([la?, ttl?, sessions, users, end])
    }
}

/// The same as Redis should hold it. An index entry of a `no_resave` session keeps its end.
fn expected(record: &Record) -> [Seconds; 5] {
    let end = record.end().min(999_999_999_999_999);
    [
        record.last_active,
        record.ttl,
        record.last_active,
        record.last_active,
        end,
    ]
}

fn renewed(record: &Record, now: Seconds) -> Record {
    let mut renewed = record.clone();
    renewed.renew(now);
    renewed
}

#[test]
fn scripts_renew_and_expire_sessions_as_a_record_does() {
    let (server, runtime) = (Server::start(), Runtime::new().unwrap());
    let store = runtime.block_on(async { server.open() });
    let stage = RefCell::new(Stage {
        raw: server.raw(),
        scripts: Scripts::new(),
        touch: Script::touch(),
    });
    hold("renewal", 2, inputs(), |input| {
        let stage = &mut *stage.borrow_mut();
        let Some((record, read, now)) = parse(input) else {
            return;
        };
        let keys = [&*hash(), SESSIONS, USERS, ENDS];
        let (token, app_token) = (token_text(), format!("forum:{}", token_text()));
        let prefix = "rs:forum:us:".to_owned();

        stage.write(&record);
        let args = [now.to_string(), token.clone(), app_token.clone(), prefix.clone()];
        let _: Vec<u8> = stage.run(|stage| &stage.scripts.get, &keys, &args);
        let after_get = if record.expired(now) {
            record.clone()
        } else {
            renewed(&record, now)
        };
        assert_eq!(stage.state(), Some(expected(&after_get)), "get");

        stage.write(&record);
        let args = [
            "rs:",
            ":_sessions",
            ":_users",
            ":us:",
            "forum",
            &token,
            "1",
            &read.to_string(),
        ];
        let failed: u64 = stage.run(|stage| &stage.touch, &[ENDS], &args.map(ToOwned::to_owned));
        assert_eq!(
            (failed, stage.state()),
            (0, Some(expected(&renewed(&record, read)))),
            "touch"
        );

        stage.write(&record);
        let args = [
            now.to_string(),
            token,
            app_token,
            "rs:cache".into(),
            "60000".into(),
            read.to_string(),
            prefix,
            r#""a""#.into(),
            "1".into(),
        ];
        let _: Vec<u8> = stage.run(|stage| &stage.scripts.set, &keys, &args);
        let written: bool = stage.raw.send(&["HEXISTS", &hash(), "d"]);
        let alive = !renewed(&record, read).expired(now);
        let after_set = if alive { renewed(&record, now) } else { record.clone() };
        assert_eq!((written, stage.state()), (alive, Some(expected(&after_set))), "set");

        stage.write(&record);
        let wiped = runtime.block_on(store.wipe(now)).unwrap();
        assert_eq!(wiped, u64::from(record.expired(now)), "wipe");
        let left = (!record.expired(now)).then(|| expected(&record));
        assert_eq!(stage.state(), left, "wipe");
    });
}
