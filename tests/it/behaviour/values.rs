//! Tests that values and keys come back exactly as they were sent, after create, set and merge.

use serde_json::Value;

use crate::support::{Server, Store, for_every_store, json};

for_every_store![
    numbers_are_never_rounded,
    strings_come_back_unchanged,
    any_text_is_accepted_as_a_key,
    all_spellings_of_a_key_name_the_same_key,
];

/// Stores `d` by a create, by a set on a session without data and by a set on one with data. Then changes another key,
/// so that the store merges. Returns each `d` that came back.
async fn round_trips(store: Store, d: &str) -> Vec<String> {
    let server = Server::start(store).await;
    let app = server.app("forum");
    let created = app.create_with("ann", "", d).await;
    let set = app.create("ann").await;
    let merged = app.create_with("ann", "", r#"{"before":1}"#).await;
    let mut came_back = vec![app.get(&created).await.expect("alive").d().to_owned()];
    came_back.push(app.set(&set, d).await.expect("alive").d().to_owned());
    app.set(&merged, d).await.expect("alive");
    // A second write parses the stored text and serialises it again.
    for token in [created, set, merged] {
        app.set(&token, r#"{"before":null,"after":1}"#).await.expect("alive");
        app.set(&token, r#"{"after":null}"#).await.expect("alive");
        came_back.push(app.get(&token).await.expect("alive").d().to_owned());
    }
    came_back
}

async fn numbers_are_never_rounded(store: Store) {
    const NUMBERS: [&str; 20] = [
        "0",
        "-0",
        "1",
        "-1",
        "-0.1",
        "0.1",
        "120.55",
        "1.0",
        "1.10",
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1e-7",
        "1E308",
        "1e+2",
        "0.30000000000000004",
        "3.141592653589793238462643",
        "2.2250738585072014E-308",
    ];
    let fields: Vec<_> = NUMBERS
        .iter()
        .enumerate()
        .map(|(n, number)| format!(r#""n{n}":{number}"#))
        .collect();
    let d = format!("{{{}}}", fields.join(","));
    for came_back in round_trips(store, &d).await {
        assert_eq!(came_back, d);
    }
}

async fn strings_come_back_unchanged(store: Store) {
    let strings = [
        "",
        " ",
        "plain",
        "한국어",
        "😀 and \u{1f469}\u{200d}\u{1f680}",
        "\u{2028}\u{2029}",
        "\0\u{1}\u{1f}\u{7f}\u{80}",
        "tab\tline\r\nfeed\u{8}\u{c}",
        "\"quoted\"",
        "back\\slash\\",
        "\\\"",
        "slash/",
        "{\"a\":1},[2]",
        "null",
        "$1 %s %1 %% \\1",
        "\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
    ];
    let fields: Vec<_> = strings
        .iter()
        .enumerate()
        .map(|(n, text)| format!(r#""s{n}":{}"#, json_string(text)))
        .collect();
    let d = format!("{{{}}}", fields.join(","));
    for came_back in round_trips(store, &d).await {
        let fields = json(&came_back);
        for (n, text) in strings.iter().enumerate() {
            assert_eq!(fields[format!("s{n}")], *text, "{came_back}");
        }
    }
    // The same characters in the other spellings that JSON allows.
    let spelled = r#"{"a":"\u0041\/\u00e9\uD83D\uDE00\u0000\u2028","b":"\b\f\n\r\t\\\""}"#;
    for came_back in round_trips(store, spelled).await {
        let fields = json(&came_back);
        assert_eq!(fields["a"], "A/é😀\0\u{2028}", "{came_back}");
        assert_eq!(fields["b"], "\u{8}\u{c}\n\r\t\\\"", "{came_back}");
    }
}

async fn any_text_is_accepted_as_a_key(store: Store) {
    let keys = [
        "",
        " ",
        "a b",
        "a.b",
        "a:b",
        "a\"b",
        "a\\b",
        "\\",
        "\"",
        "/",
        "\n",
        "\0",
        "\u{1f}\u{7f}",
        "😀",
        "한국어",
        "\u{2028}",
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "id",
        "r",
        "no_resave",
        "null",
        "{",
        "},{",
        "1",
        "-0",
        "%s",
    ];
    let fields: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| format!("{}:{n}", json_string(key)))
        .collect();
    let d = format!("{{{}}}", fields.join(","));
    for came_back in round_trips(store, &d).await {
        let Value::Object(fields) = json(&came_back) else {
            panic!("no object: {came_back}")
        };
        assert_eq!(fields.len(), keys.len(), "{came_back}");
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(fields[*key], n, "{key:?} in {came_back}");
        }
    }
}

async fn all_spellings_of_a_key_name_the_same_key(store: Store) {
    let server = Server::start(store).await;
    let app = server.app("forum");
    // Each pair is tried in both orders: created in one spelling, changed in the other.
    for (one, other) in [
        (r"\u0061", "a"),
        (r#"a\"b"#, r"a\u0022b"),
        (r"a\\b", r"a\u005cb"),
        (r"\/", "/"),
        (r"\u00e9", "é"),
        (r"\uD83D\uDE00", "😀"),
        (r"\n", r"\u000A"),
        (r"\u0000", r"\u0000"),
        (r"\u001F", r"\u001f"),
        (r"\u2028", "\u{2028}"),
        (r"\u007f", "\u{7f}"),
        (r"\b\f\r\t", r"\u0008\u000C\u000d\u0009"),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let token = app.create_with("ann", "", &format!(r#"{{"{first}":1,"z":2}}"#)).await;
            let session = app.set(&token, format!(r#"{{"{second}":3}}"#)).await.expect("alive");
            assert_eq!(
                json(session.d()).as_object().map(serde_json::Map::len),
                Some(2),
                "{first} {second}: {}",
                session.d()
            );
            assert!(
                session.d().ends_with(r#":3,"z":2}"#),
                "{first} {second}: {}",
                session.d()
            );
            let session = app.set(&token, format!(r#"{{"{first}":null}}"#)).await.expect("alive");
            assert_eq!(session.d(), r#"{"z":2}"#, "{first} {second}");
        }
    }
}

/// A text as the shortest JSON string.
fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}
