//! Which part of the keyspace a session lives in.
//!
//! A shard is a prefix of keys in one slot, and the unit that a cluster moves. Everything of one id is in one shard,
//! so that each operation on a session or an id reaches one node and stays atomic. A single server has one shard,
//! `rs:`, the classic layout; a cluster has several, `{rs:00}:` and so on.
//!
//! An id's shard is a hash of app and id. A token carries its shard, in hexadecimal at its beginning.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    session::{App, Token},
    store::redis::layout::Keys,
};

/// The most shards: two hexadecimal digits.
pub(crate) const MOST: usize = 256;

/// All shards.
pub(crate) struct Shards(Vec<Keys>);

impl Shards {
    /// The only shard of a single server.
    pub(crate) fn one(namespace: &str) -> Self {
        Self(vec![Keys::new(namespace, namespace)])
    }

    /// The shards of a cluster, 1 to [`MOST`].
    pub(crate) fn many(namespace: &str, count: usize) -> Self {
        let keys = |shard| Keys::new(&format!("{{{namespace}:{shard:02x}}}"), namespace);
        Self((0..count.clamp(1, MOST)).map(keys).collect())
    }

    /// The shard of an id's sessions.
    pub(crate) fn of_id(&self, app: &App, id: &str) -> &Keys {
        &self.0[self.index(app, id)]
    }

    /// The shard of a session; `None` if its token leads to no shard, so that there is no such session.
    pub(crate) fn of(&self, token: &Token) -> Option<&Keys> {
        match self.0.as_slice() {
            [only] => Some(only),
            many => many.get(token.shard()?),
        }
    }

    /// The token of a new session, changed so that it leads to the shard of its id.
    pub(crate) fn lead(&self, token: Token, app: &App, id: &str) -> Token {
        if self.0.len() == 1 {
            return token;
        }
        token.in_shard(self.index(app, id))
    }

    /// All shards, in order.
    pub(crate) fn all(&self) -> &[Keys] {
        &self.0
    }

    fn index(&self, app: &App, id: &str) -> usize {
        if self.0.len() == 1 {
            return 0;
        }
        // Part of the layout: another hash would look for sessions in the wrong shards. An app contains no colon.
        let hash = xxh3_64(format!("{}:{id}", app.as_str()).as_bytes());
        usize::try_from(hash % self.0.len() as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::layout::SLOTS;

    fn token() -> Token {
        Token::parse(&"Z".repeat(Token::LEN)).unwrap()
    }

    #[test]
    fn a_token_leads_to_the_shard_of_its_id() {
        let app = App::parse("forum").unwrap();
        for count in [2, 3, 16, 255, 256] {
            let shards = Shards::many("rs", count);
            for id in 0..1000 {
                let id = format!("user:{id}");
                let token = shards.lead(token(), &app, &id);
                let keys = shards.of(&token).expect("a shard");
                assert_eq!(keys.prefix().to_string(), shards.of_id(&app, &id).prefix().to_string());
                assert!(token.as_str().ends_with(&"Z".repeat(Token::LEN - 2)));
            }
        }
    }

    #[test]
    fn a_foreign_token_leads_nowhere() {
        let shards = Shards::many("rs", 16);
        for (beginning, known) in [
            ("00", true),
            ("0f", true),
            ("10", false),
            ("ff", false),
            ("0F", false),
            ("zz", false),
        ] {
            let token = Token::parse(&format!("{beginning}{}", "Z".repeat(Token::LEN - 2))).unwrap();
            assert_eq!(shards.of(&token).is_some(), known, "{beginning}");
        }
        assert!(Shards::one("rs").of(&token()).is_some());
    }

    #[test]
    fn the_place_of_an_id_never_changes() {
        let app = App::parse("forum").unwrap();
        let place = |id| Shards::many("rs", 256).of_id(&app, id).prefix().to_string();
        let places = ["ann", "bob", "eve", "한:x"].map(place);
        assert_eq!(places, ["{rs:00}:", "{rs:ff}:", "{rs:40}:", "{rs:ea}:"]);
    }

    #[test]
    fn one_app_spreads_evenly() {
        let app = App::parse("forum").unwrap();
        let shards = Shards::many("rs", 256);
        let mut counts = vec![0_u32; 256];
        for id in 0..256_000 {
            counts[shards.index(&app, &format!("u{id}"))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
    #[test]
    fn shards_spread_over_three_masters() {
        for namespace in ["rs", "prod", "sessions", "rest"] {
            let mut masters = [0; 3];
            for keys in Shards::many(namespace, MOST).all() {
                masters[usize::from(keys.slot()) * 3 / usize::from(SLOTS)] += 1;
            }
            // 31 to 36 in a hundred.
            assert!(
                masters.iter().all(|shards| (79..=92).contains(shards)),
                "{namespace}: {masters:?}"
            );
        }
    }
}
