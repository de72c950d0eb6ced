//! The Lua scripts, and how to call one by its hash.
//!
//! Each script states its KEYS, ARGV and return value in its first lines. What scripts share is prepended to their
//! source: `record.lua` reads a session, `renewal.lua` holds the rules by which it ends and is renewed.

use deadpool_redis::redis::{self, Cmd};

use crate::store::redis::connection::retry::RetryPolicy;

/// The source of a script that reads session hashes.
macro_rules! reads_records {
    ($file:literal) => {
        concat!(include_str!("record.lua"), include_str!($file))
    };
}

/// The source of a script that renews or expires sessions.
macro_rules! renews_records {
    ($file:literal) => {
        concat!(
            include_str!("record.lua"),
            include_str!("renewal.lua"),
            include_str!($file)
        )
    };
}

/// All scripts, named after the operation they serve.
pub(crate) struct Scripts {
    pub(crate) create: Script,
    pub(crate) get: Script,
    pub(crate) set: Script,
    pub(crate) soapp: Script,
    pub(crate) soid: Script,
    pub(crate) places: Script,
    pub(crate) records: Script,
    pub(crate) kill: Script,
    pub(crate) killsoid: Script,
    pub(crate) killall: Script,
    pub(crate) wipe: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            create: Script::new(include_str!("create.lua")),
            get: Script::new(renews_records!("get.lua")),
            set: Script::new(renews_records!("set.lua")),
            soapp: Script::reading(reads_records!("soapp.lua")),
            soid: Script::reading(reads_records!("soid.lua")),
            places: Script::reading(reads_records!("places.lua")),
            records: Script::reading(reads_records!("records.lua")),
            kill: Script::new(reads_records!("kill.lua")),
            killsoid: Script::new(include_str!("killsoid.lua")),
            killall: Script::new(include_str!("killall.lua")),
            wipe: Script::new(renews_records!("wipe.lua")),
        }
    }
}

/// One script. Not [`redis::Script`], which copies every argument once more into the command.
pub(crate) struct Script {
    source: &'static str,
    /// SHA-1 of the source in hexadecimal, the name under which Redis caches it.
    hash: String,
    /// Whether a call without a reply may be repeated.
    retry: RetryPolicy,
}

impl Script {
    /// A script that changes data: a call without a reply is not repeated.
    fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: redis::Script::new(source).get_hash().to_owned(),
            retry: RetryPolicy::Never,
        }
    }

    /// A script that changes nothing.
    fn reading(source: &'static str) -> Self {
        Self {
            retry: RetryPolicy::AfterHalf,
            ..Self::new(source)
        }
    }

    /// `touch.lua`, which the flusher runs. Its retries may count reads twice; other requests for the same sessions
    /// wait for it.
    pub(crate) fn touch() -> Self {
        Self {
            retry: RetryPolicy::Yield,
            ..Self::new(renews_records!("touch.lua"))
        }
    }

    pub(crate) fn retry(&self) -> RetryPolicy {
        self.retry
    }

    /// The name under which Redis caches the script.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The call by hash; Redis refuses it if it has not cached the script. `arguments` appends the number of keys, the
    /// keys and ARGV.
    pub(crate) fn by_hash(&self, arguments: &dyn Fn(&mut Cmd)) -> Cmd {
        let mut cmd = Cmd::with_capacity(12, 512);
        cmd.arg("EVALSHA").arg(&self.hash);
        arguments(&mut cmd);
        cmd
    }

    /// The call with the source, which Redis then caches.
    pub(crate) fn by_source(&self, arguments: &dyn Fn(&mut Cmd)) -> Cmd {
        let mut cmd = Cmd::with_capacity(12, 512 + self.source.len());
        cmd.arg("EVAL").arg(self.source);
        arguments(&mut cmd);
        cmd
    }
}
