//! The HTTP side: routes, handlers, extractors, middleware and error responses. It knows no backend.

pub mod error;
mod extract;
mod handlers;
mod list_body;
pub mod middleware;
mod response;
pub mod router;
mod state;

pub use self::state::AppState;
