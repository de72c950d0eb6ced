//! Property tests on arbitrary input from clients, files and stores: no parser panics, accepted values come back
//! unchanged, refused input changes nothing, and every answer follows the contract.

mod body;
mod hold;
mod json;
mod options;
mod paths;
mod queries;
mod query_model;
mod router;
mod texts;
