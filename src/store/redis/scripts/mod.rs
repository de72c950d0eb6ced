//! The scripts, and how to call one by its hash.

use deadpool_redis::redis::{self, Cmd};

use crate::store::redis::connection::retry::RetryPolicy;

/// The source of a script that reads session hashes: what they share, and its own file.
macro_rules! on_records {
    ($file:literal) => {
        concat!(include_str!("record.lua"), include_str!($file))
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
            get: Script::new(on_records!("get.lua")),
            set: Script::new(on_records!("set.lua")),
            soapp: Script::reading(on_records!("soapp.lua")),
            soid: Script::reading(on_records!("soid.lua")),
            places: Script::reading(on_records!("places.lua")),
            records: Script::reading(on_records!("records.lua")),
            kill: Script::new(on_records!("kill.lua")),
            killsoid: Script::new(include_str!("killsoid.lua")),
            killall: Script::new(include_str!("killall.lua")),
            wipe: Script::new(on_records!("wipe.lua")),
        }
    }
}

/// One script. [`redis::Script`] would copy every argument once more on the way into a command.
pub(crate) struct Script {
    source: &'static str,
    /// SHA-1 of the source in hexadecimal, the name under which Redis keeps it.
    hash: String,
    /// Whether it may be run again where a reply is missing.
    retry: RetryPolicy,
}

impl Script {
    pub(crate) fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: redis::Script::new(source).get_hash().to_owned(),
            retry: RetryPolicy::Never,
        }
    }

    /// One that changes nothing.
    fn reading(source: &'static str) -> Self {
        Self {
            retry: RetryPolicy::AfterHalf,
            ..Self::new(source)
        }
    }

    /// One that counts reads, at worst twice. Whoever reads the same waits for it.
    pub(crate) fn counting(source: &'static str) -> Self {
        Self {
            retry: RetryPolicy::Yield,
            ..Self::new(source)
        }
    }

    pub(crate) fn retry(&self) -> RetryPolicy {
        self.retry
    }

    /// The name under which Redis knows it.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The call by hash, which Redis refuses if it does not know the script. `arguments` adds the number of keys, the
    /// keys and the rest.
    pub(crate) fn by_hash(&self, arguments: &dyn Fn(&mut Cmd)) -> Cmd {
        let mut cmd = Cmd::with_capacity(12, 512);
        cmd.arg("EVALSHA").arg(&self.hash);
        arguments(&mut cmd);
        cmd
    }

    /// The call with the source, from which Redis learns the script.
    pub(crate) fn by_source(&self, arguments: &dyn Fn(&mut Cmd)) -> Cmd {
        let mut cmd = Cmd::with_capacity(12, 512 + self.source.len());
        cmd.arg("EVAL").arg(self.source);
        arguments(&mut cmd);
        cmd
    }
}
