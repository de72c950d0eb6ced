//! What the README says, held to the real program.

mod console;
mod document;
mod facts;
mod languages;
mod tables;
mod walk;
