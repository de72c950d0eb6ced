//! openapi.yaml is what the service does: every route, every answer, every limit that it declares is asked for.

mod answers;
mod cases;
mod contract;
mod errors;
mod inputs;
mod request;
mod routes;
mod schema;
mod shape;
mod worlds;
