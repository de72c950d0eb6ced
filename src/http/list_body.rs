//! The answers of `soapp` and `soid`: as one piece if short, else sent while they are read, so that memory stays flat.
//!
//! A piece is read only when the client has taken the one before. A client that stalls holds one piece here and one in its
//! connection's buffer; after [`STALL`] the list gives back what else it holds, and after [`PATIENCE`] it breaks off.

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

/// From here on an answer is sent in pieces of about this size, in bytes.
const PIECE: usize = 64 * 1024;
/// How long a client may take for a piece before the list gives its memory back.
const STALL: Duration = Duration::from_secs(5);
/// How long it may take for a piece at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers a list, or a page of it if there is a limit.
pub(crate) async fn answer(
    service: Arc<Service>,
    mut listing: Listing,
    limit: Option<usize>,
    scope: Scope,
) -> Result<Response, Error> {
    let mut text = Text::new(limit.unwrap_or(usize::MAX), scope);
    loop {
        let (rest, part) = service.next_part(listing).await?;
        if text.add(part.as_deref()) {
            return Ok(json_body(text.bytes.into()));
        }
        if text.bytes.len() >= PIECE {
            return Ok(json_body(in_pieces(service, rest, text)));
        }
        listing = rest;
    }
}

/// A body of what is there already and what follows it. If that fails the connection breaks off, and no client takes what it
/// has for the whole.
fn in_pieces(service: Arc<Service>, listing: Listing, text: Text) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = send(&service, listing, text, &sender).await {
            debug!(?error, "a list broke off");
        }
    });
    let pieces = stream::unfold(Some(receiver), async |receiver| {
        let mut receiver: mpsc::Receiver<Piece> = receiver?;
        Some(match receiver.recv().await {
            Some(Piece { bytes, last }) => (Ok(bytes), (!last).then_some(receiver)),
            None => (Err(io::Error::other("the list broke off")), None),
        })
    });
    Body::from_stream(pieces)
}

struct Piece {
    bytes: Bytes,
    last: bool,
}

async fn send(
    service: &Service,
    mut listing: Listing,
    mut text: Text,
    sender: &mpsc::Sender<Piece>,
) -> Result<(), store::Error> {
    let mut last = false;
    loop {
        let Some(permit) = next(sender, &mut listing).await else {
            return Ok(());
        };
        while !last && text.bytes.len() < PIECE && !sender.is_closed() {
            let (rest, part) = service.next_part(listing).await?;
            last = text.add(part.as_deref());
            listing = rest;
        }
        let bytes = mem::take(&mut text.bytes).into();
        permit.send(Piece { bytes, last });
        if last {
            return Ok(());
        }
    }
}

/// Waits until the client has taken the piece before. `None`: it has gone, or does not read.
async fn next<'a>(sender: &'a mpsc::Sender<Piece>, listing: &mut Listing) -> Option<Permit<'a, Piece>> {
    let mut permit = pin!(sender.reserve());
    if let Ok(permit) = timeout(STALL, &mut permit).await {
        return permit.ok();
    }
    listing.release();
    timeout(PATIENCE.saturating_sub(STALL), permit).await.ok()?.ok()
}

/// The text of an answer, as far as it goes.
struct Text {
    bytes: Vec<u8>,
    /// How many sessions more it may have.
    left: usize,
    /// The place of the last one.
    place: Option<Cursor>,
    scope: Scope,
}

impl Text {
    fn new(limit: usize, scope: Scope) -> Self {
        Self {
            bytes: br#"{"sessions":["#.to_vec(),
            left: limit,
            place: None,
            scope,
        }
    }

    /// Adds a part of a list, or its end, and says whether the text is whole now.
    fn add(&mut self, part: Option<&[Listed]>) -> bool {
        let Some(part) = part else {
            self.bytes.extend(b"]}");
            return true;
        };
        for listed in part {
            if self.left == 0 {
                let Some(place) = self.place else { break };
                let cursor = self.scope.text(place);
                self.bytes.extend(format!(r#"],"cursor":"{cursor}"}}"#).into_bytes());
                return true;
            }
            if self.place.is_some() {
                self.bytes.push(b',');
            }
            listed.session.write(&mut self.bytes);
            self.place = Some(listed.cursor);
            self.left -= 1;
        }
        false
    }
}
