//! `set.lua` merges changes exactly as [`Changes::apply`] does.

use super::*;
use crate::session::Data;

/// A deterministic generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Keys with many escapes; several of them spell the same key.
const KEYS: &[&str] = &[
    r#""""#,
    r#""a""#,
    r#""\u0061""#,
    r#""b""#,
    r#""A""#,
    r#""a\"b""#,
    r#""a\\""#,
    r#""a\\\"""#,
    r#""\\u0061""#,
    r#""\/""#,
    r#""/""#,
    r#""\b\f\n\r\t""#,
    r#""\u0008\u000c\u000A\u000D\u0009""#,
    r#""\u001f""#,
    r#""\u001F""#,
    r#""\u0000""#,
    "\"\u{7f}\"",
    r#""\u007f""#,
    r#""\u00e9""#,
    r#""é""#,
    r#""\ud83d\ude00""#,
    r#""😀""#,
    "\"\u{2028}\"",
    r#""\u2028""#,
    r#""null""#,
    r#""a:b""#,
    r#""{""#,
    r#""a,b""#,
    r#""}""#,
    r#""__proto__""#,
    r#"" ""#,
    r#""___""#,
    r#""\"""#,
    r#""1""#,
];

const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "9007199254740993",
    "18446744073709551615",
    "1e400",
    "1E+2",
    "0.1",
    "-0.0e-0",
    "3.141592653589793238462643",
    "0e0",
    r#""""#,
    r#""x""#,
    r#""\"""#,
    r#""\\""#,
    r#""a\\\"b""#,
    r#""\u0041\/""#,
    r#""\u00e9""#,
    r#""é😀""#,
    r#"",""#,
    r#""}""#,
    r#""{\"a\":1}""#,
    r#"" : ""#,
    "\"\u{7f}\"",
    r#""null""#,
];

const SPACES: &[&str] = &["", "", "", " ", "\n", "\t \r\n"];

fn object(random: &mut Random, most: usize, least: usize) -> String {
    let pairs = least + random.below(most);
    let mut text = format!("{}{{", random.pick(SPACES));
    for pair in 0..pairs {
        if pair > 0 {
            text.push(',');
        }
        for part in [
            random.pick(SPACES),
            random.pick(KEYS),
            random.pick(SPACES),
            ":",
            random.pick(SPACES),
            random.pick(VALUES),
        ] {
            text.push_str(part);
        }
        text.push_str(random.pick(SPACES));
    }
    text + random.pick(SPACES) + "}" + random.pick(SPACES)
}

/// Damages about a third of the texts: removes, doubles or replaces one character.
fn damaged(random: &mut Random, text: String) -> String {
    if random.below(3) > 0 {
        return text;
    }
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len());
    match random.below(3) {
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, chars[at]),
        _ => chars[at] = ['"', '\\', '{', '}', ':', ',', '0', 'e', '[', '\u{b}', '\u{1}', ' '][random.below(12)],
    }
    chars.into_iter().collect()
}

#[tokio::test]
async fn set_merges_like_changes_apply() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let hash = format!("rs:forum:{}", "a".repeat(64));
    let (mut merged, mut refused) = (0, 0);
    for _ in 0..4000 {
        let stored = object(&mut random, 6, 0);
        let stored = damaged(&mut random, stored);
        // A peer may have stored a number beyond doubles; a set refuses it.
        let change = object(&mut random, 4, 1).replace("1e400", "1e300");
        store.create(app(), token('a'), record("u", "")).await.unwrap();
        let _: i64 = raw.send(&["HSET", &hash, "d", &stored]);
        let Ok(parsed) = Changes::for_set(change.as_bytes(), Vec::new()) else {
            panic!("{change:?} is no change");
        };
        let session = store.set(app(), token('a'), parsed, NOW).await.unwrap();
        let left: Option<String> = raw.send(&["HGET", &hash, "d"]);
        if let Some(old) = Data::stored(&stored) {
            let expected = changes(&change).apply(old.as_ref()).unwrap();
            let expected = expected.as_ref().map(Data::as_str);
            let session = session.unwrap_or_else(|| panic!("{stored:?} is an object"));
            assert_eq!(
                session.d.as_ref().map(Data::as_str),
                expected,
                "{stored:?} + {change:?}"
            );
            assert_eq!(left.as_deref(), expected, "{stored:?} + {change:?}");
            assert_eq!(session.w, 2);
            merged += 1;
        } else {
            assert!(session.is_none(), "{stored:?} is no flat object");
            assert_eq!(left.as_deref(), Some(&*stored));
            refused += 1;
        }
        let _: () = raw.ask("FLUSHALL");
    }
    assert!(merged > 2000 && refused > 300, "{merged} merged, {refused} refused");
}

#[tokio::test]
async fn set_refuses_a_d_that_would_be_too_large() {
    let server = Server::start();
    let store = server.open();
    let mut raw = server.raw();
    // {"a":"…","b":1} of exactly 60000 bytes.
    let long = "x".repeat(60_000 - r#"{"a":"","b":1}"#.len());
    store
        .create(app(), token('a'), record("u", &format!(r#"{{"a":"{long}"}}"#)))
        .await
        .unwrap();
    let hash: Vec<String> = raw.ask(&format!("HGETALL rs:forum:{}", "a".repeat(64)));
    let too_large = store.set(app(), token('a'), changes(r#"{"b":12}"#), NOW + 5).await;
    assert_eq!(too_large.unwrap_err(), crate::store::Error::TooLarge);
    assert_eq!(
        hash,
        raw.ask::<Vec<String>>(&format!("HGETALL rs:forum:{}", "a".repeat(64)))
    );
    let fits = store
        .set(app(), token('a'), changes(r#"{"b":1}"#), NOW + 5)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fits.d.unwrap().as_str().len(), 60_000);
}

#[tokio::test]
async fn concurrent_sets_lose_nothing() {
    let server = Server::start();
    let store = Arc::new(server.open());
    store.create(app(), token('a'), record("u", "")).await.unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store
                    .set(app(), token('a'), changes(&format!(r#"{{"k{n}":{n}}}"#)), NOW)
                    .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap().unwrap();
    }
    let session = store.get(app(), token('a'), NOW).await.unwrap().unwrap();
    assert_eq!(session.w, 201);
    assert_eq!(session.d.unwrap().as_str().matches(':').count(), 200);
}
