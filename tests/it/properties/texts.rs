//! Strategies for texts that are JSON or almost JSON.

use proptest::{collection::vec, prelude::*, string::string_regex};

/// Quoted strings: often from a few, so that keys collide, otherwise random ones with all kinds of escapes.
fn string() -> impl Strategy<Value = String> {
    let few = prop::sample::select(vec![
        r#""a""#,
        r#""b""#,
        r#""\u0061""#,
        r#""\/""#,
        r#""/""#,
        r#""""#,
        r#""é""#,
        r#""\u00e9""#,
        r#""\u0000""#,
        r#""null""#,
        r#""\ud83d\ude00""#,
        r#""😀""#,
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#""\"""#,
        r#""\\""#,
        r#""\\u0061""#,
    ]);
    let piece =
        string_regex(r#"[ -!#-\[\]-~]{0,6}|[À-ÿ가-깃😀-😿\u{2028}\u{fffe}]{0,3}|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]"#);
    let many = vec(piece.expect("an expression"), 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()));
    prop_oneof![3 => few.prop_map(ToOwned::to_owned), 2 => many]
}

fn number() -> impl Strategy<Value = String> {
    let any = string_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,5})?").expect("an expression");
    let edge = prop::sample::select(vec![
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
        "1e400",
        "-0",
        "-0.0",
        "1E-400",
        "0.1",
        "1.0",
    ]);
    prop_oneof![any, edge.prop_map(ToOwned::to_owned)]
}

fn scalar() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["true", "false", "null", "null"]);
    prop_oneof![2 => word.prop_map(ToOwned::to_owned), 2 => number(), 3 => string()]
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => string_regex("[ \t\r\n]{1,3}").expect("an expression")]
}

fn value(deep: bool) -> BoxedStrategy<String> {
    if !deep {
        return scalar().boxed();
    }
    let nested = scalar().prop_recursive(4, 12, 4, |inner| {
        let array = vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        let field = (string(), inner).prop_map(|(key, value)| format!("{key}:{value}"));
        let object = vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(",")));
        prop_oneof![array, object]
    });
    let very = (1..3000usize).prop_map(|depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    prop_oneof![20 => scalar(), 3 => nested, 1 => very].boxed()
}

/// Objects; nested ones only if `deep`.
pub(crate) fn object(deep: bool) -> impl Strategy<Value = String> {
    let field = || {
        (space(), string(), space(), space(), value(deep), space())
            .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"))
    };
    let fields = prop_oneof![9 => vec(field(), 0..8), 1 => vec(field(), 8..40)];
    (space(), fields, space()).prop_map(|(a, fields, b)| format!("{a}{{{}}}{b}", fields.join(",")))
}

/// Texts that are JSON or almost JSON.
pub(crate) fn text(deep: bool) -> impl Strategy<Value = Vec<u8>> {
    let other = prop_oneof![
        scalar(),
        value(true),
        Just("[ ]".to_owned()),
        Just(String::new()),
        Just(" null ".to_owned())
    ];
    let marked = object(deep).prop_map(|object| format!("\u{feff}{object}"));
    let text = prop_oneof![12 => object(deep).boxed(), 1 => other.boxed(), 1 => marked.boxed()];
    damaged(text.prop_map(String::into_bytes))
}

/// Some of the inputs with a few bytes replaced, inserted or removed.
pub(crate) fn damaged(inputs: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![prop::sample::select(b"{}[]:,\"\\ u0e.-+n\t%&=/".to_vec()), any::<u8>()];
    let damage = (any::<prop::sample::Index>(), 0..3u8, byte);
    (
        inputs,
        prop_oneof![2 => vec(damage.clone(), 0..1), 1 => vec(damage, 1..4)],
    )
        .prop_map(|(mut bytes, damages)| {
            for (place, how, byte) in damages {
                let place = place.index(bytes.len() + 1);
                match how {
                    0 => bytes.insert(place, byte),
                    _ if place == bytes.len() => {}
                    1 => bytes[place] = byte,
                    _ => drop(bytes.remove(place)),
                }
            }
            bytes
        })
}
