//! Why the input of a request is refused.

/// A value of a request that breaks a rule of the contract. No variant holds a token, and none is of HTTP:
/// `http::error` maps each to a status, a stable name and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A required parameter is absent or empty.
    Missing(&'static str),
    /// An app, token, id or ip does not match its syntax.
    Format(&'static str),
    /// `ttl`, `dt`, `limit`, `cursor` or a key of `d` is out of range. The message goes to the client.
    Value(String),
    /// The body is not JSON.
    Json,
}
