//! What becomes of a body that nobody read.
//!
//! A request may be refused for its path or its size before its body has arrived. Answered at once, the client could find
//! the connection closed under its hands and never see the answer, and a pool of connections would try the next request
//! on it. So what is left of the body is read and thrown away first, within bounds; beyond them the answer says that the
//! connection ends.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Request, Response, header},
};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// The most to throw away, in bytes: more than anybody sends by mistake.
const MOST: usize = 8 * 1024 * 1024;

/// The place to which a body comes back from whoever dropped it unread.
pub(crate) struct Rest(Arc<Mutex<Option<Incoming>>>);

/// Lends the body of a request out. `None` for the many requests that have none.
pub(crate) fn lend(request: Request<Incoming>) -> (Request<Body>, Option<Rest>) {
    if request.body().is_end_stream() {
        return (request.map(|_| Body::empty()), None);
    }
    // A client that waits to be asked for its body is not asked: it does not send what was refused.
    let waits = request.headers().contains_key(header::EXPECT);
    let rest = Rest(Arc::default());
    let lend = |body| {
        Body::new(Lent {
            body: Some(body),
            rest: rest.0.clone(),
            polled: !waits,
            ended: false,
        })
    };
    (request.map(lend), Some(rest))
}

impl Rest {
    /// Throws away what is left of the body, for `patience` at most.
    pub(crate) async fn drain(self, patience: Duration, response: &mut Response<Body>) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else {
            return;
        };
        let body_length = body.size_hint().lower();
        let to_its_end = async {
            let mut thrown = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    return false;
                };
                thrown += frame.data_ref().map_or(0, Bytes::len);
                if thrown > MOST {
                    return false;
                }
            }
            true
        };
        let hopeless = body_length > MOST as u64;
        if hopeless || !timeout(patience, to_its_end).await.unwrap_or(false) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<Incoming>,
    rest: Arc<Mutex<Option<Incoming>>>,
    polled: bool,
    /// Whether the end was read. A body in chunks cannot tell by itself, since it does not know its length.
    ended: bool,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.polled = true;
        let frame = match &mut self.body {
            Some(body) => ready!(Pin::new(body).poll_frame(context)),
            None => None,
        };
        self.ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.polled && !self.is_end_stream() {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}
