//! The bodies of `soapp` and `soid`: a short list in one piece, a longer one streamed while it is read.
//!
//! The next chunk is read only after the client has taken the previous one, so memory stays bounded. A stalled client pins one
//! chunk here and one in the buffer of its connection. After [`STALL`] the list frees everything else, and after
//! [`STALL_LIMIT`] the answer is aborted.

use std::{io, mem, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures_util::stream;
use tokio::{
    sync::mpsc::{self, Permit},
    time::timeout,
};
use tracing::debug;

use super::{error::Error, response::json_body};
use crate::{
    service::Service,
    session::{Cursor, Scope},
    store::{self, Listed, Listing},
};

/// Size of a chunk, in bytes. A shorter list is sent as one piece.
const CHUNK_BYTES: usize = 64 * 1024;
/// Time for a client to take a chunk before the list frees its memory.
const STALL: Duration = Duration::from_secs(5);
/// Time for a client to take a chunk before the answer is aborted.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Answers a list, or one page of it if there is a `limit`. Fails only before the first chunk.
pub(crate) async fn answer(
    service: Arc<Service>,
    mut listing: Listing,
    limit: Option<usize>,
    scope: Scope,
) -> Result<Response, Error> {
    let mut text = ListText::new(limit.unwrap_or(usize::MAX), scope);
    loop {
        let (rest, part) = service.next_part(listing).await?;
        if text.add(part.as_deref()) {
            return Ok(json_body(text.bytes.into()));
        }
        if text.bytes.len() >= CHUNK_BYTES {
            return Ok(json_body(stream_body(service, rest, text)));
        }
        listing = rest;
    }
}

/// Streams the text so far and the rest of the list. On a failure the connection is aborted, so that no client takes a partial
/// list for a complete one.
fn stream_body(service: Arc<Service>, listing: Listing, text: ListText) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = send(&service, listing, text, &sender).await {
            debug!(?error, "cannot read the rest of a list: the answer is aborted");
        }
    });
    let chunks = stream::unfold(Some(receiver), async |receiver| {
        let mut receiver: mpsc::Receiver<Chunk> = receiver?;
        Some(match receiver.recv().await {
            Some(Chunk { bytes, last }) => (Ok(bytes), (!last).then_some(receiver)),
            None => (Err(io::Error::other("the list was aborted")), None),
        })
    });
    Body::from_stream(chunks)
}

struct Chunk {
    bytes: Bytes,
    last: bool,
}

async fn send(
    service: &Service,
    mut listing: Listing,
    mut text: ListText,
    sender: &mpsc::Sender<Chunk>,
) -> Result<(), store::Error> {
    let mut last = false;
    loop {
        let Some(permit) = wait_for_client(sender, &mut listing).await else {
            return Ok(());
        };
        while !last && text.bytes.len() < CHUNK_BYTES && !sender.is_closed() {
            let (rest, part) = service.next_part(listing).await?;
            last = text.add(part.as_deref());
            listing = rest;
        }
        let bytes = mem::take(&mut text.bytes).into();
        permit.send(Chunk { bytes, last });
        if last {
            return Ok(());
        }
    }
}

/// Waits until the client has taken the previous chunk. `None` if it disconnected or stalled for too long.
async fn wait_for_client<'a>(sender: &'a mpsc::Sender<Chunk>, listing: &mut Listing) -> Option<Permit<'a, Chunk>> {
    let mut permit = pin!(sender.reserve());
    if let Ok(permit) = timeout(STALL, &mut permit).await {
        return permit.ok();
    }
    listing.release();
    timeout(STALL_LIMIT.saturating_sub(STALL), permit).await.ok()?.ok()
}

/// The JSON text of the answer so far.
struct ListText {
    bytes: Vec<u8>,
    /// Sessions that may still be added.
    remaining: usize,
    /// The position of the last session.
    last: Option<Cursor>,
    scope: Scope,
}

impl ListText {
    fn new(limit: usize, scope: Scope) -> Self {
        Self {
            bytes: br#"{"sessions":["#.to_vec(),
            remaining: limit,
            last: None,
            scope,
        }
    }

    /// Adds a part of the list, or its end. Returns true once the text is complete.
    fn add(&mut self, part: Option<&[Listed]>) -> bool {
        let Some(part) = part else {
            self.bytes.extend(b"]}");
            return true;
        };
        for listed in part {
            if self.remaining == 0 {
                let Some(last) = self.last else { break };
                let cursor = self.scope.text(last);
                self.bytes.extend(format!(r#"],"cursor":"{cursor}"}}"#).into_bytes());
                return true;
            }
            if self.last.is_some() {
                self.bytes.push(b',');
            }
            listed.session.write(&mut self.bytes);
            self.last = Some(listed.cursor);
            self.remaining -= 1;
        }
        false
    }
}
