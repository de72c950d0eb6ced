//! The bodies of create and set, and the merge into `d`, against a model of the contract.

use proptest::{collection::vec, prelude::*};
use rest_sessions::session::{ApplyError, Changes, Data, Invalid, MAX_DATA_BYTES};

use super::{
    hold::hold,
    json::{self, Field, Text},
    texts,
};

/// Keys with the JSON text of their new values, or `None` to remove them.
type Pairs = Vec<(String, Option<String>)>;

/// The model: the changes in the body of a set, or the error.
fn expected(body: &[u8]) -> Result<Pairs, Invalid> {
    let text = std::str::from_utf8(body).map_err(|_| Invalid::Json)?;
    let fields = match json::read(text).ok_or(Invalid::Json)? {
        Text::Other => return Err(Invalid::Value("d must be an object".into())),
        Text::Object(fields) => fields,
    };
    let mut pairs = Pairs::new();
    for field in fields {
        let key = field.key.ok_or(Invalid::Json)?;
        let value = (field.value != "null").then_some(field.value);
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some(pair) => pair.1 = value,
            None => pairs.push((key, value)),
        }
    }
    let text_of = |value: &String| !value.starts_with('"') || json::decode(value).is_some();
    if !pairs.iter().all(|(_, value)| value.as_ref().is_none_or(text_of)) {
        return Err(Invalid::Json);
    }
    for (key, value) in &pairs {
        let Some(value) = value else { continue };
        if value.starts_with(['[', '{']) {
            return Err(Invalid::Value(format!(
                "d.{key} has a forbidden type. Only strings, numbers, boolean and null are allowed."
            )));
        }
        if infinite(value) {
            return Err(Invalid::Value(format!("d.{key} is beyond the numbers of a double.")));
        }
    }
    Ok(pairs)
}

/// Whether the value is a number that overflows a double.
fn infinite(value: &str) -> bool {
    value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && value.parse::<f64>().expect("a number").is_infinite()
}

/// The body without a leading byte order mark.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn empty() -> Invalid {
    Invalid::Value("d must contain at least one key.".into())
}

fn pairs(changes: &Changes) -> Pairs {
    changes
        .iter()
        .map(|(key, value)| (key.to_owned(), value.map(ToOwned::to_owned)))
        .collect()
}

/// The model of a merge: the old data with the changes applied, as text; `None` if no key is left.
fn merged(old: &Pairs, changes: &Pairs) -> Option<String> {
    let mut all = old.clone();
    for (key, value) in changes {
        match all.iter_mut().find(|(known, _)| known == key) {
            Some(pair) => pair.1.clone_from(value),
            None => all.push((key.clone(), value.clone())),
        }
    }
    let left = all.into_iter().filter_map(|(key, value)| {
        let key = serde_json::to_string(&key).expect("a text");
        value.map(|value| format!("{key}:{value}"))
    });
    let left: Vec<_> = left.collect();
    (!left.is_empty()).then(|| format!("{{{}}}", left.join(",")))
}

/// Asserts the result of applying changes.
fn assert_applied(applied: Result<Option<Data>, ApplyError>, expected: Option<String>) {
    if expected.as_ref().is_some_and(|text| text.len() > MAX_DATA_BYTES) {
        assert_eq!(applied.expect_err("it is too large"), ApplyError::TooLarge);
        return;
    }
    let applied = applied.expect("the data fits");
    assert_eq!(applied.as_ref().map(Data::as_str), expected.as_deref());
    if let Some(text) = expected {
        // Stored data can be read back unchanged.
        let again = Data::stored(&text).flatten().expect("stored data");
        assert_eq!(again.as_str(), text);
        let Some(Text::Object(fields)) = json::read(&text) else {
            panic!("{text}")
        };
        assert_eq!(again.texts().len(), fields.len());
    }
}

#[test]
fn set_accepts_the_bodies_of_the_contract() {
    hold("body", 1, texts::text(true), |body| {
        let expected = match without_mark(body) {
            b"" => Err(empty()),
            body => expected(body).and_then(|pairs| if pairs.is_empty() { Err(empty()) } else { Ok(pairs) }),
        };
        let changes = Changes::for_set(body, Vec::new());
        match (changes, expected) {
            (Ok(changes), Ok(expected)) => {
                assert_eq!(pairs(&changes), expected);
                assert_applied(changes.apply(None), merged(&Pairs::new(), &expected));
            }
            (changes, expected) => assert_eq!(changes.map(|changes| pairs(&changes)), expected),
        }
    });
}

#[test]
fn create_accepts_the_bodies_of_set_and_empty_ones() {
    hold("body", 1, texts::text(true), |body| {
        let sent = body;
        let body = without_mark(sent);
        let text = std::str::from_utf8(body).ok();
        let compact = text.filter(|text| json::read(text).is_some()).map(|text| {
            let mut compact = text.to_owned();
            compact.retain(|char| !" \t\n\r".contains(char));
            compact
        });
        let is_empty = body.is_empty() || matches!(compact.as_deref(), Some("null" | "[]"));
        let expected = if is_empty { Ok(Pairs::new()) } else { expected(body) };
        assert_eq!(Changes::for_create(sent).map(|changes| pairs(&changes)), expected);
    });
}

/// Two bodies separated by a line feed.
fn two() -> impl Strategy<Value = Vec<u8>> {
    let long = (0..60_100usize).prop_map(|length| format!(r#"{{"long":"{}"}}"#, "x".repeat(length)));
    let some = || prop_oneof![30 => texts::object(false).boxed(), 1 => long.clone().boxed()];
    let line = |text: String| text.replace(['\n', '\r'], " ");
    (some(), some()).prop_map(move |(old, new)| format!("{}\n{}", line(old), line(new)).into_bytes())
}

#[test]
fn set_changes_only_the_keys_in_its_body() {
    hold("merge", 1, two(), |input| {
        let text = std::str::from_utf8(input).expect("a text");
        let (old, new) = text.split_once('\n').expect("two lines");
        let (Ok(stored), Ok(changes)) = (
            Changes::for_create(old.as_bytes()),
            Changes::for_set(new.as_bytes(), Vec::new()),
        ) else {
            return;
        };
        let (mut old, new) = (pairs(&stored), pairs(&changes));
        old.retain(|(_, value)| value.is_some());
        let Ok(data) = stored.apply(None) else { return };
        assert_applied(changes.apply(data.as_ref()), merged(&old, &new));
        let again = || Changes::for_set(text.split_once('\n').expect("two lines").1.as_bytes(), Vec::new());
        let once = again().expect("as before").apply(data.as_ref());
        if let Ok(once) = once {
            let twice = again()
                .expect("as before")
                .apply(once.as_ref())
                .expect("no larger than before");
            assert_eq!(
                twice.as_ref().map(Data::as_str),
                once.as_ref().map(Data::as_str),
                "a set is idempotent"
            );
        }
    });
}

/// A body, and keys to unset, one per line.
fn unset() -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("é".to_owned()),
        "[a-c]{1,2}"
    ];
    let body = prop_oneof![5 => texts::object(false).boxed(), 1 => Just(String::new()).boxed()];
    (body, vec(key, 0..4)).prop_map(|(body, keys)| {
        let body = body.replace(['\n', '\r'], " ");
        [vec![body], keys].concat().join("\n").into_bytes()
    })
}

#[test]
fn unset_removes_keys_that_the_body_does_not_set() {
    hold("unset", 1, unset(), |input| {
        let text = std::str::from_utf8(input).expect("a text");
        let mut lines = text.split('\n').map(ToOwned::to_owned);
        let body = lines.next().unwrap_or_default();
        let keys: Vec<String> = lines.collect();
        let Ok(named) = Changes::for_create(body.as_bytes()) else {
            return;
        };
        let mut expected = pairs(&named);
        let both = keys
            .iter()
            .find(|key| expected.iter().any(|(known, value)| known == *key && value.is_some()));
        let changes = Changes::for_set(body.as_bytes(), keys.clone());
        if let Some(both) = both {
            let wrong = Invalid::Value(format!("d.{both} is both set and unset"));
            assert_eq!(changes.map(|changes| pairs(&changes)), Err(wrong));
            return;
        }
        expected.extend(keys.into_iter().map(|key| (key, None)));
        if expected.is_empty() {
            assert_eq!(changes.map(|changes| pairs(&changes)), Err(empty()));
            return;
        }
        // Unset keys may repeat and need not exist.
        let changes = changes.expect("nothing is set and unset");
        assert_applied(changes.apply(None), merged(&Pairs::new(), &expected));
    });
}

#[test]
fn stored_data_is_a_flat_object_or_absent() {
    hold("stored", 1, texts::text(true), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let flat = match json::read(text) {
            Some(Text::Object(fields)) => {
                let flat = |field: &Field| field.key.is_some() && !field.value.starts_with(['[', '{']);
                fields.iter().all(flat).then_some(fields.is_empty())
            }
            _ => None,
        };
        let read = Data::stored(text);
        assert_eq!(read.as_ref().map(Option::is_none), flat, "{text}");
        if let Some(Some(data)) = read {
            assert_eq!(data.as_str(), text.trim_matches([' ', '\t', '\n', '\r']));
            // Must not panic, whatever escapes a peer has stored.
            let _ = data.texts();
        }
    });
}
