//! The data folder: claimed by one process, recognised by its marker, and refused and left alone otherwise.

mod claiming;
mod engine_seen;
mod folder;
mod layout;
mod open;
mod presence;
mod refused;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    folder::DataDir,
    refused::{Refused, unusable},
};
