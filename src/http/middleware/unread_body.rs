//! Discards unread request bodies, so that a TCP reset cannot destroy an early error response.
//!
//! A request may be refused for its path or size before its body has arrived. If the server answered and closed at once, the
//! reset could reach the client before the answer does, and a connection pool might send its next request on a dead
//! connection. So the rest of the body is read and discarded first, within bounds. Beyond the bounds the answer carries
//! `Connection: close`.

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

/// Maximum to discard, in bytes: far above the largest body that is accepted.
const MAX_DISCARD: usize = 8 * 1024 * 1024;

/// Receives a body back that was dropped before its end.
pub(super) struct UnreadBody(Arc<Mutex<Option<Incoming>>>);

/// Lends the body of a request to its handler. `None` for a request without a body.
pub(super) fn lend(request: Request<Incoming>) -> (Request<Body>, Option<UnreadBody>) {
    if request.body().is_end_stream() {
        return (request.map(|_| Body::empty()), None);
    }
    // A client that sent `Expect` sends its body only when asked. An early answer tells it not to.
    let waits = request.headers().contains_key(header::EXPECT);
    let unread = UnreadBody(Arc::default());
    let lend = |body| {
        Body::new(Lent {
            body: Some(body),
            unread: unread.0.clone(),
            polled: !waits,
            ended: false,
        })
    };
    (request.map(lend), Some(unread))
}

impl UnreadBody {
    /// Discards the rest of the body, for at most `limit`.
    pub(super) async fn discard(self, limit: Duration, response: &mut Response<Body>) {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = body else {
            return;
        };
        let body_length = body.size_hint().lower();
        let discard_all = async {
            let mut discarded = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    return false;
                };
                discarded += frame.data_ref().map_or(0, Bytes::len);
                if discarded > MAX_DISCARD {
                    return false;
                }
            }
            true
        };
        let too_long = body_length > MAX_DISCARD as u64;
        if too_long || !timeout(limit, discard_all).await.unwrap_or(false) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

/// A body that returns to its [`UnreadBody`] when it is dropped before its end.
struct Lent {
    body: Option<Incoming>,
    unread: Arc<Mutex<Option<Incoming>>>,
    polled: bool,
    /// Whether the end was read. A chunked body cannot tell by itself.
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
            *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}
