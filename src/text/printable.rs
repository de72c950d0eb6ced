//! Makes operators' values fit for a line of a terminal or a log.
//!
//! A path, a host or an unknown key may hold line breaks, escape sequences or a whole file that was pasted by mistake.

use std::{iter, path::Path};

/// Characters of a value that are shown.
const VALUE: usize = 200;
/// Characters of a line that are shown from its beginning and from its end, where the cause stands.
const LINE: (usize, usize) = (700, 300);

/// A value as a part of one line: cut, and without control characters.
#[must_use]
pub fn value(text: &str) -> String {
    let mut shown = plain(text);
    if let Some((cut, _)) = shown.char_indices().nth(VALUE) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

/// A path, as [`value`] shows it.
#[must_use]
pub fn path(path: &Path) -> String {
    value(&path.to_string_lossy())
}

/// A message as one line; of a long one, the middle is left out.
#[must_use]
pub fn line(text: &str) -> String {
    let shown = plain(text);
    let (first, last) = LINE;
    let length = shown.chars().count();
    if length <= first + last {
        return shown;
    }
    let begin = shown.chars().take(first);
    let end = shown.chars().skip(length - last);
    begin.chain(iter::once('…')).chain(end).collect()
}

/// Escapes what is no visible character: controls, line breaks of any kind, and the marks that turn the direction of text.
fn plain(text: &str) -> String {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if unseen(c) {
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
    fn what_is_shown_is_one_short_line() {
        let odd = "a\nb\r\x1b[31m\u{7}\u{202e}\u{2028}\u{feff}é한";
        assert_eq!(value(odd), r"a\nb\r\u{1b}[31m\u{7}\u{202e}\u{2028}\u{feff}é한");
        assert_eq!(line(odd), value(odd));
        let long = "ü".repeat(100_000);
        assert_eq!(value(&long), "ü".repeat(200) + "…");
        let shown = line(&format!("{long}: no such file"));
        assert!(shown.chars().count() < 1100 && shown.ends_with("ü: no such file"));
    }
}
