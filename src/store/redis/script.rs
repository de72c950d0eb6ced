//! The scripts, and how to call one by its hash.

use deadpool_redis::redis::{self, Cmd};

use super::wire::Patience;

/// The source of a script that reads session hashes: what they share, and its own file.
macro_rules! on_records {
    ($file:literal) => {
        concat!(include_str!("scripts/record.lua"), include_str!($file))
    };
}

/// All scripts, named after the operation they serve.
pub(super) struct Scripts {
    pub(super) create: Script,
    pub(super) get: Script,
    pub(super) set: Script,
    pub(super) soapp: Script,
    pub(super) soid: Script,
    pub(super) places: Script,
    pub(super) records: Script,
    pub(super) kill: Script,
    pub(super) killsoid: Script,
    pub(super) killall: Script,
    pub(super) wipe: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: Script::new(include_str!("scripts/create.lua")),
            get: Script::new(on_records!("scripts/get.lua")),
            set: Script::new(on_records!("scripts/set.lua")),
            soapp: Script::reading(on_records!("scripts/soapp.lua")),
            soid: Script::reading(on_records!("scripts/soid.lua")),
            places: Script::reading(on_records!("scripts/places.lua")),
            records: Script::reading(on_records!("scripts/records.lua")),
            kill: Script::new(on_records!("scripts/kill.lua")),
            killsoid: Script::new(include_str!("scripts/killsoid.lua")),
            killall: Script::new(include_str!("scripts/killall.lua")),
            wipe: Script::new(on_records!("scripts/wipe.lua")),
        }
    }
}

/// One script. [`redis::Script`] would copy every argument once more on the way into a command.
pub(super) struct Script {
    source: &'static str,
    /// SHA-1 of the source in hexadecimal, the name under which Redis keeps it.
    hash: String,
    /// Whether it may be run again where a reply is missing.
    patience: Patience,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: redis::Script::new(source).get_hash().to_owned(),
            patience: Patience::Whole,
        }
    }

    /// One that changes nothing.
    fn reading(source: &'static str) -> Self {
        Self {
            patience: Patience::Half,
            ..Self::new(source)
        }
    }

    /// One that counts reads, at worst twice. Whoever reads the same waits for it.
    pub(super) fn counting(source: &'static str) -> Self {
        Self {
            patience: Patience::Least,
            ..Self::new(source)
        }
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// The name under which Redis knows it.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// The call by hash, which Redis refuses if it does not know the script. `arguments` adds the number of keys, the
    /// keys and the rest.
    pub(super) fn by_hash(&self, arguments: &dyn Fn(&mut Cmd)) -> Cmd {
        let mut cmd = Cmd::with_capacity(12, 512);
        cmd.arg("EVALSHA").arg(&self.hash);
        arguments(&mut cmd);
        cmd
    }

    /// The call with the source, from which Redis learns the script.
    pub(super) fn by_source(&self, arguments: &dyn Fn(&mut Cmd)) -> Cmd {
        let mut cmd = Cmd::with_capacity(12, 512 + self.source.len());
        cmd.arg("EVAL").arg(self.source);
        arguments(&mut cmd);
        cmd
    }
}
