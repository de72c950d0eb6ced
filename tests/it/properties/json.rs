//! An independent JSON reader after RFC 8259, the reference for the service's parser.

/// The outermost value of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Object(Vec<Field>),
    Other,
}

/// A decoded key and the text of its value. The key is `None` if its escapes do not form valid UTF-16.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
}

/// Parses a text; `None` if it is not JSON.
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

/// Decodes a quoted string; `None` if it has an unpaired surrogate.
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

    /// Reads the fields of an object after its opening brace.
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

    /// Skips one value of any depth, without recursion.
    fn skip(&mut self) -> Option<()> {
        let mut open: Vec<char> = Vec::new();
        loop {
            self.space();
            // A scalar, or the opening bracket of an object or an array.
            let first = self.rest.chars().next()?;
            match first {
                '{' | '[' => {
                    self.take(&self.rest[..1]);
                    self.space();
                    let end = if first == '{' { "}" } else { "]" };
                    if !self.take(end) {
                        open.push(first);
                        self.key(first)?;
                        continue;
                    }
                }
                '"' => drop(self.string()?),
                _ => self.scalar()?,
            }
            // After a value: a comma, or the ends of enclosing objects and arrays.
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

    /// Skips the key and the colon if the enclosing value is an object.
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
