//! Makes values of the operator safe to print in one line of a terminal or a log.
//!
//! A path, a host or an unknown key may hold line breaks, escape sequences, or a whole file that was pasted by mistake.

use std::{iter, path::Path};

/// Maximum length of a value, in characters.
const MAX_VALUE: usize = 200;
/// Characters kept at the beginning and at the end of a long line. The cause stands at the end.
const LINE_ENDS: (usize, usize) = (700, 300);

/// A value as part of a line: truncated, with control characters escaped.
#[must_use]
pub fn value(text: &str) -> String {
    let mut shown = escape(text);
    if let Some((cut, _)) = shown.char_indices().nth(MAX_VALUE) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

/// A path, printed like a [`value`].
#[must_use]
pub fn path(path: &Path) -> String {
    value(&path.to_string_lossy())
}

/// A message as one line. Drops the middle of a long one.
#[must_use]
pub fn line(text: &str) -> String {
    let shown = escape(text);
    let (first, last) = LINE_ENDS;
    let length = shown.chars().count();
    if length <= first + last {
        return shown;
    }
    let begin = shown.chars().take(first);
    let end = shown.chars().skip(length - last);
    begin.chain(iter::once('…')).chain(end).collect()
}

/// Escapes invisible characters: controls, line breaks of any kind, and marks that change the direction of text.
fn escape(text: &str) -> String {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if invisible(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{line, value};

    #[test]
    fn output_is_one_short_line() {
        let odd = "a\nb\r\x1b[31m\u{7}\u{202e}\u{2028}\u{feff}é한";
        assert_eq!(value(odd), r"a\nb\r\u{1b}[31m\u{7}\u{202e}\u{2028}\u{feff}é한");
        assert_eq!(line(odd), value(odd));
        let long = "ü".repeat(100_000);
        assert_eq!(value(&long), "ü".repeat(200) + "…");
        let shown = line(&format!("{long}: no such file"));
        assert!(shown.chars().count() < 1100 && shown.ends_with("ü: no such file"));
    }
}
