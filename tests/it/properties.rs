//! What holds for whatever a client, a file or a store gives us: no parser panics, what is accepted comes back as it
//! was, what is refused changes nothing, and every answer is the contract's.

mod body;
mod hold;
mod json;
mod options;
mod requests;
mod texts;
