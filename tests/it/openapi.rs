//! The service conforms to openapi.yaml: the tests request every route, answer and limit that it declares.

mod answers;
mod cases;
mod contract;
mod errors;
mod inputs;
mod request;
mod routes;
mod scenarios;
mod schema;
mod shape;
