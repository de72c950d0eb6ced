//! The README's commands, programs, tables and statements, checked against the real service.

mod console;
mod document;
mod facts;
mod languages;
mod tables;
mod walk;
