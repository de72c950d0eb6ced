//! The token: the secret name of a session.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use super::Invalid;

/// The secret name of a session: 64 characters of `[A-Za-z0-9]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token([u8; Self::LEN]);

impl Token {
    /// Length in characters, and in bytes.
    pub const LEN: usize = 64;
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// Fails with [`Invalid::Format`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let bytes: [u8; Self::LEN] = text.as_bytes().try_into().map_err(|_| Invalid::Format("token"))?;
        // Why a fold and no early exit: the compiler vectorises it.
        if bytes.iter().fold(true, |valid, b| valid & b.is_ascii_alphanumeric()) {
            Ok(Self(bytes))
        } else {
            Err(Invalid::Format("token"))
        }
    }

    /// Makes a new token of 64 × log2(62) = 381 random bits. `fill` is the operating system's generator.
    ///
    /// Returns `None` if the generator fails.
    pub fn generate(fill: impl Fn(&mut [u8]) -> bool) -> Option<Self> {
        // Rejection sampling: bytes from 248 = 4 × 62 on would favour the first letters. 96 bytes nearly always hold 64
        // usable ones.
        const FAIR: u8 = 248;
        let mut token = [0; Self::LEN];
        let mut filled = 0;
        while filled < Self::LEN {
            let mut random = [0; 96];
            if !fill(&mut random) {
                return None;
            }
            let fair = random.iter().filter(|b| **b < FAIR);
            for (slot, byte) in token[filled..].iter_mut().zip(fair) {
                *slot = Self::ALPHABET[usize::from(byte % 62)];
                filled += 1;
            }
        }
        Some(Self(token))
    }

    /// Replaces the first two characters by the number of a shard, in hexadecimal. 369 random bits remain.
    #[must_use]
    pub(crate) fn in_shard(mut self, shard: usize) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0[0] = DIGITS[shard / 16 % 16];
        self.0[1] = DIGITS[shard % 16];
        self
    }

    /// The shard that [`Token::in_shard`] wrote. `None` if the first two characters are not hexadecimal.
    #[must_use]
    pub(crate) fn shard(&self) -> Option<usize> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(usize::from(byte - b'0')),
            b'a'..=b'f' => Some(usize::from(byte - b'a') + 10),
            _ => None,
        };
        Some(digit(self.0[0])? * 16 + digit(self.0[1])?)
    }

    /// Divides all tokens, in their order, into `ranges` ranges of equal size, and returns the range of this one.
    #[must_use]
    pub(crate) fn range(&self, ranges: usize) -> usize {
        let rank = |byte: u8| match byte {
            b'0'..=b'9' => usize::from(byte - b'0'),
            b'A'..=b'Z' => usize::from(byte - b'A') + 10,
            _ => usize::from(byte - b'a') + 36,
        };
        (rank(self.0[0]) * 62 + rank(self.0[1])) * ranges / (62 * 62)
    }

    /// The token as text. It is a secret: it belongs into an answer or a key of the store, nowhere else.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "parse and generate accept ASCII only")]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("parse and generate accept ASCII only")
    }

    /// The token as the bytes of its text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl Hash for Token {
    /// Hashes the last quarter only, which has 95 random bits (41 in tokens of redis-sessions, which end in the time). The
    /// beginning may be the number of a shard.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[Self::LEN - 16..]);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn ranges_of_tokens_are_in_their_order_and_even() {
        let mut letters = *Token::ALPHABET;
        letters.sort_unstable();
        let token = |first, second| {
            let mut token = Token(*b"0000000000000000000000000000000000000000000000000000000000000000");
            token.0[..2].copy_from_slice(&[first, second]);
            token
        };
        let tokens = letters
            .iter()
            .flat_map(|first| letters.map(|second| token(*first, second)));
        let tokens: Vec<_> = tokens.collect();
        for count in [64, 256] {
            let ranges: Vec<_> = tokens.iter().map(|token| token.range(count)).collect();
            assert!(ranges.is_sorted());
            for range in 0..count {
                let size = ranges.iter().filter(|other| **other == range).count();
                let even = tokens.len() / count;
                assert!((even..=even + 1).contains(&size), "{size} tokens in {range} of {count}");
            }
        }
    }
}
