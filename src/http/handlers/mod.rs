//! One handler for each route. A handler extracts, calls one function of the session service, and answers.

pub(super) mod auth;
pub(super) mod descriptions;
pub(super) mod health;
pub(super) mod lists;
pub(super) mod sessions;
