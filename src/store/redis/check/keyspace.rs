//! Which keys a check looks at, and in which shard each session belongs.

use crate::{
    session::{App, Token},
    store::{
        Location,
        redis::{
            endpoint::address::Deployment,
            layout::Keys,
            topology::shards::{MOST, Shards},
        },
    },
};

/// The shards of the namespace to check.
pub(super) struct CheckedKeyspace {
    /// The shards that services use.
    used: Shards,
    /// All shards that a key can be in. Nothing belongs in a shard that is not used.
    all: Shards,
    /// The prefix of every key.
    pub(super) prefix: String,
}

/// One shard of the namespace.
#[derive(Clone, Copy)]
pub(super) struct CheckedShard<'a> {
    pub(super) number: usize,
    pub(super) keys: &'a Keys,
    /// Its two hexadecimal digits; `None` on a single server.
    name: Option<&'a str>,
}

impl<'a> CheckedShard<'a> {
    /// A location in this shard, for the report.
    pub(super) fn place<'b>(self, app: &'b str, id: Option<&'b str>, token: Option<&'b str>) -> Location<'b>
    where
        'a: 'b,
    {
        let shard = self.name;
        Location { app, id, token, shard }
    }
}

impl CheckedKeyspace {
    pub(super) fn new(mode: &Deployment, namespace: &str, shards: usize) -> Self {
        match mode {
            Deployment::Single | Deployment::Sentinel(_) => Self {
                used: Shards::one(namespace),
                all: Shards::one(namespace),
                prefix: format!("{namespace}:"),
            },
            Deployment::Cluster => Self {
                used: Shards::many(namespace, shards),
                all: Shards::many(namespace, MOST),
                prefix: format!("{{{namespace}:"),
            },
        }
    }

    /// The number of shards in use.
    pub(super) fn used(&self) -> usize {
        self.used.all().len()
    }

    pub(super) fn shard(&self, number: usize) -> CheckedShard<'_> {
        let (keys, several) = (&self.all.all()[number], self.all.all().len() > 1);
        // `{rs:0f}:`
        let name = several.then(|| keys.prefix().trim_end_matches("}:"));
        CheckedShard {
            number,
            keys,
            name: name.map(|name| &name[name.len() - 2..]),
        }
    }

    /// The number of the shard that a key is in, and its name within the shard; `None` if it is outside of the
    /// namespace.
    pub(super) fn split<'k>(&self, key: &'k str) -> Option<(usize, &'k str)> {
        let all = self.all.all();
        // The prefixes are sorted, and of equal length.
        let (prefix, name) = key.split_at_checked(all[0].prefix().len())?;
        let number = all.binary_search_by(|keys| keys.prefix().cmp(prefix)).ok()?;
        // On a cluster, the first shard has a key with the number of shards.
        let shard_count = all.len() > 1 && number == 0 && key == all[0].shards().to_string();
        (!shard_count).then_some((number, name))
    }

    /// Whether a service that has the token of a session looks for it in this shard.
    pub(super) fn has_token(&self, shard: CheckedShard<'_>, token: &str) -> bool {
        let keys = Token::parse(token).ok().and_then(|token| self.used.of(&token));
        keys.is_some_and(|keys| keys.prefix() == shard.keys.prefix())
    }

    /// Whether a service looks for the sessions of an id in this shard.
    pub(super) fn has_id(&self, shard: CheckedShard<'_>, app: &str, id: &str) -> bool {
        let keys = App::parse(app).ok().map(|app| self.used.of_id(&app, id));
        keys.is_some_and(|keys| keys.prefix() == shard.keys.prefix())
    }
}

/// A `SCAN` pattern that matches every key with this prefix.
pub(super) fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_prefix_only() {
        assert_eq!(pattern("rs:"), "rs:*");
        assert_eq!(pattern("{rs:"), "{rs:*");
        assert_eq!(pattern("a*[b]?\\:"), "a\\*\\[b\\]\\?\\\\:*");
    }

    #[test]
    fn keys_are_split() {
        let one = CheckedKeyspace::new(&Deployment::Single, "rs", 16);
        assert_eq!(one.split("rs:forum:_users"), Some((0, "forum:_users")));
        assert_eq!(one.split("rx:forum:_users"), None);
        assert_eq!((one.used(), one.shard(0).name), (1, None));
        let many = CheckedKeyspace::new(&Deployment::Cluster, "rs", 16);
        assert_eq!(many.split("{rs:00}:SESSIONS"), Some((0, "SESSIONS")));
        assert_eq!(many.split("{rs:ff}:forum:us:한"), Some((255, "forum:us:한")));
        for foreign in [
            "{rs:00}:_shards",
            "{rs:0F}:SESSIONS",
            "{rs:x:00}:SESSIONS",
            "{rs:0",
            "{rs:한글",
        ] {
            assert_eq!(many.split(foreign), None, "{foreign}");
        }
        assert_eq!((many.used(), many.shard(15).name), (16, Some("0f")));
    }

    #[test]
    fn a_session_belongs_in_one_shard() {
        let token = |shard: &str| format!("{shard}{}", "Z".repeat(Token::LEN - 2));
        let one = CheckedKeyspace::new(&Deployment::Single, "rs", 16);
        assert!(one.has_token(one.shard(0), &token("ZZ")) && one.has_id(one.shard(0), "forum", "ann"));
        let many = CheckedKeyspace::new(&Deployment::Cluster, "rs", 16);
        let holders =
            |has: &dyn Fn(CheckedShard<'_>) -> bool| (0..MOST).filter(|n| has(many.shard(*n))).collect::<Vec<_>>();
        assert_eq!(holders(&|shard| many.has_token(shard, &token("0f"))), [15]);
        assert!(holders(&|shard| many.has_token(shard, &token("10"))).is_empty());
        assert_eq!(holders(&|shard| many.has_id(shard, "forum", "ann")).len(), 1);
    }
}
