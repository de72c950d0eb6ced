//! Reads what operators write: a file made on Windows works like any other.
//!
//! Editors there begin UTF-8 with a byte order mark, and `PowerShell`'s `>` writes UTF-16. Ends of lines are left as they are:
//! whoever reads lines takes `\r\n` for one.

use std::{fs, io, path::Path};

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of a file without byte order mark. Fails if it is no text.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(decoded(fs::read(path)?)?).map_err(|_| no_text())
}

/// The bytes of a file without byte order mark, in UTF-8 where they were UTF-16.
pub(crate) fn decoded(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    match bytes.as_slice() {
        [0xff, 0xfe, units @ ..] => from_utf16(units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => from_utf16(units, u16::from_be_bytes),
        _ => Ok(bytes.strip_prefix(UTF8_MARK).map(<[u8]>::to_vec).unwrap_or(bytes)),
    }
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> io::Result<Vec<u8>> {
    let (pairs, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(no_text());
    }
    let text = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>();
    text.map(String::into_bytes).map_err(|_| no_text())
}

fn no_text() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8 or UTF-16")
}
