//! The name of a session within a store.

use std::hash::{Hash, Hasher};

use crate::session::{App, Token};

/// The name of a session within a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) app: App,
    pub(crate) token: Token,
}

impl Hash for Key {
    /// Hashes the token only: two apps never share one.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.token.hash(state);
    }
}
