//! JSON as RFC 8259 has it, written once more: what the parser of the service is compared with, and texts to compare it on.

use proptest::{collection::vec, prelude::*, string::string_regex};

/// What stands at the outermost level of a text, as far as a session cares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Object(Vec<Field>),
    Other,
}

/// A key, decoded, and the value as it was written. No key where the escapes make no text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
}

/// Reads a text; `None` if it is no JSON.
pub(crate) fn read(text: &str) -> Option<Text> {
    let mut reader = Reader { rest: text };
    reader.space();
    let read = if reader.take("{") {
        Text::Object(reader.fields()?)
    } else {
        reader.skip().map(|()| Text::Other)?
    };
    reader.space();
    reader.rest.is_empty().then_some(read)
}

/// Decodes a string with its quotes; `None` if an escape is half of a character.
pub(crate) fn decode(string: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::new();
    let mut chars = string[1..string.len() - 1].chars();
    while let Some(next) = chars.next() {
        if next != '\\' {
            units.extend(next.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        match chars.next()? {
            'u' => {
                let hex: String = chars.by_ref().take(4).collect();
                units.push(u16::from_str_radix(&hex, 16).ok()?);
            }
            escape => {
                let index = "\"\\/bfnrt".find(escape)?;
                units.push(u16::from(b"\"\\/\x08\x0c\n\r\t"[index]));
            }
        }
    }
    String::from_utf16(&units).ok()
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.rest.strip_prefix(text);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    /// The fields of an object whose brace is read.
    fn fields(&mut self) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        self.space();
        if self.take("}") {
            return Some(fields);
        }
        loop {
            self.space();
            let key = decode(self.string()?);
            self.space();
            if !self.take(":") {
                return None;
            }
            self.space();
            let before = self.rest;
            self.skip()?;
            let value = before[..before.len() - self.rest.len()].to_owned();
            fields.push(Field { key, value });
            self.space();
            if self.take("}") {
                return Some(fields);
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    /// Passes one value, however deep it is.
    fn skip(&mut self) -> Option<()> {
        let mut open: Vec<char> = Vec::new();
        loop {
            self.space();
            // A value, or the beginning of one.
            let begun = self.rest.chars().next()?;
            match begun {
                '{' | '[' => {
                    self.take(&self.rest[..1]);
                    self.space();
                    let end = if begun == '{' { "}" } else { "]" };
                    if !self.take(end) {
                        open.push(begun);
                        self.key(begun)?;
                        continue;
                    }
                }
                '"' => drop(self.string()?),
                _ => self.scalar()?,
            }
            // What follows a value.
            loop {
                let Some(&inside) = open.last() else { return Some(()) };
                self.space();
                if self.take(",") {
                    self.key(inside)?;
                    break;
                }
                if !self.take(if inside == '{' { "}" } else { "]" }) {
                    return None;
                }
                open.pop();
            }
        }
    }

    /// The key of a field, in an object.
    fn key(&mut self, inside: char) -> Option<()> {
        if inside == '{' {
            self.space();
            self.string()?;
            self.space();
            return self.take(":").then_some(());
        }
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.rest;
        let mut chars = text.char_indices();
        chars.next().filter(|(_, quote)| *quote == '"')?;
        while let Some((at, next)) = chars.next() {
            match next {
                '"' => {
                    self.rest = &text[at + 1..];
                    return Some(&text[..=at]);
                }
                '\\' => match chars.next()?.1 {
                    'u' => {
                        for _ in 0..4 {
                            chars.next().filter(|(_, digit)| digit.is_ascii_hexdigit())?;
                        }
                    }
                    escape => drop("\"\\/bfnrt".find(escape)?),
                },
                next if next < ' ' => return None,
                _ => {}
            }
        }
        None
    }

    fn scalar(&mut self) -> Option<()> {
        if ["true", "false", "null"].iter().any(|word| self.take(word)) {
            return Some(());
        }
        self.take("-");
        if !self.take("0") {
            self.digits()?;
        }
        if self.take(".") {
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let after = self.rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let some = after.len() < self.rest.len();
        self.rest = after;
        some.then_some(())
    }
}

/// Strings with their quotes: few different ones, so that keys meet, and whatever escapes there are.
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

/// Objects; flat ones unless they may be `deep`.
pub(crate) fn object(deep: bool) -> impl Strategy<Value = String> {
    let field = (space(), string(), space(), space(), value(deep), space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    (space(), vec(field, 0..8), space()).prop_map(|(a, fields, b)| format!("{a}{{{}}}{b}", fields.join(",")))
}

/// Texts that are JSON, or nearly so.
pub(crate) fn text(deep: bool) -> impl Strategy<Value = Vec<u8>> {
    let other = prop_oneof![
        scalar(),
        value(true),
        Just("[ ]".to_owned()),
        Just(String::new()),
        Just(" null ".to_owned())
    ];
    let text = prop_oneof![12 => object(deep).boxed(), 1 => other.boxed()];
    damaged(text.prop_map(String::into_bytes))
}

/// Some of the inputs with a few bytes replaced, put in or left out.
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
