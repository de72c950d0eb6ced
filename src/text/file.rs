//! Reads text files that an operator wrote, on Windows too.
//!
//! Editors there write a byte order mark before UTF-8, and `PowerShell`'s `>` writes UTF-16. Line ends stay as they are:
//! callers accept `\r\n`.

use std::{fs, io, path::Path};

const UTF8_BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file as text without its byte order mark. Fails if it is neither UTF-8 nor UTF-16.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(decoded(fs::read(path)?)?).map_err(|_| not_text())
}

/// Drops the byte order mark of a file's bytes, and converts UTF-16 to UTF-8.
pub(crate) fn decoded(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    match bytes.as_slice() {
        [0xff, 0xfe, units @ ..] => from_utf16(units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => from_utf16(units, u16::from_be_bytes),
        _ => Ok(bytes
            .strip_prefix(UTF8_BYTE_ORDER_MARK)
            .map(<[u8]>::to_vec)
            .unwrap_or(bytes)),
    }
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> io::Result<Vec<u8>> {
    let (pairs, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(not_text());
    }
    let text = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>();
    text.map(String::into_bytes).map_err(|_| not_text())
}

fn not_text() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a text in UTF-8 or UTF-16")
}
