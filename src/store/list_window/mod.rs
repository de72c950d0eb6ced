//! The order of a long list: a bounded window of the positions that come next.
//!
//! No store keeps the sessions of an id in order, and the embedded store keeps those of an app only in a rough one. A list
//! looks at all of them with a [`WindowSearch`], which keeps the first positions after the list's cursor in a bounded heap. It
//! then reads the records of that [`Window`] a few at a time. Another search after the window's last position finds the rest.
//!
//! Memory: 71 bytes a position. A window of [`MIN_WINDOW`] positions (142 KiB) is always granted; larger ones share a
//! [`WindowBudget`] of 64 MiB.

mod budget;
mod position;
mod search;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use self::{
    budget::{MIN_WINDOW, WindowBudget},
    position::Position,
    search::WindowSearch,
    window::Window,
};
