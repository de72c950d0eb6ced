//! Extractors: from the parts of a request to domain types. Each fails with an error of its own.
//!
//! They run in the order of a handler's arguments, which is the order in which the contract checks. They decode
//! percent-escapes strictly: `%zz` and bytes that are not UTF-8 are refused, where a lenient decoder would make up another id.

mod auth_query;
mod body;
mod parameters;
mod path;
mod query;
mod visitor;

pub(crate) use self::{
    auth_query::AuthQuery,
    body::{BodyTimeout, JsonBody},
    parameters::{CreateQuery, DtQuery, PageQuery, UnsetQuery},
    path::segments,
    visitor::{CookieName, Visitor},
};
