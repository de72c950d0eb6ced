//! The documents' commands, programs, tables, links and statements, checked against the real service and the code.
//!
//! A block of shell commands carries a mark in its info string, which readers of the rendered page do not see:
//!
//! - `sh`: [`pasted`] pastes all such blocks of a document, in their order, into one shell beside a fresh service. A comment
//!   directly below commands is their output.
//! - `sh run-by=FILE`: the test or script FILE runs it. FILE names the document or a program of the block.
//! - `sh not-run`: no test runs it, because it needs another machine, root or too much time.

mod contents;
mod document;
mod facts;
mod languages;
mod links;
mod marks;
mod paste;
mod pasted;
mod snippets;
mod tables;
