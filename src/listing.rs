//! The answer of `soapp`: as one piece if it is short, else sent as it is read, so that it takes no memory to speak of.

use std::{io, mem, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures_util::stream;
use tokio::{sync::mpsc, time::timeout};
use tracing::debug;

use crate::{
    error::Error,
    extract::Page,
    routes::json_body,
    service::Service,
    session::{App, Cursor, Seconds},
    store::{Listed, Listing},
};

/// From here on an answer is sent in pieces of about this size, in bytes.
const PIECE: usize = 64 * 1024;
/// How long a client may take for a piece. A list that nobody reads would keep what the store holds for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers the sessions of an app that were active in the last `dt` seconds, a page of them if it is so wanted.
pub(crate) async fn answer(service: Arc<Service>, app: App, dt: Seconds, page: Page) -> Result<Response, Error> {
    let limit = page.limit.unwrap_or(usize::MAX);
    // One more, to know whether there is one.
    let mut listing = service.soapp(app, dt, page.after, limit.saturating_add(1)).await?;
    let mut text = Text::new(limit);
    loop {
        let (rest, part) = service.more(listing).await?;
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
) -> Result<(), Error> {
    let mut last = false;
    loop {
        let bytes = mem::take(&mut text.bytes).into();
        // Whoever asked may have gone, or may not read.
        let taken = timeout(PATIENCE, sender.send(Piece { bytes, last })).await;
        if last || !matches!(taken, Ok(Ok(()))) {
            return Ok(());
        }
        while !last && text.bytes.len() < PIECE && !sender.is_closed() {
            let (rest, part) = service.more(listing).await?;
            last = text.add(part.as_deref());
            listing = rest;
        }
    }
}

/// The text of an answer, as far as it goes.
struct Text {
    bytes: Vec<u8>,
    /// How many sessions more it may have.
    left: usize,
    /// The place of the last one.
    place: Option<Cursor>,
}

impl Text {
    fn new(limit: usize) -> Self {
        Self {
            bytes: br#"{"sessions":["#.to_vec(),
            left: limit,
            place: None,
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
                self.bytes.extend(format!(r#"],"cursor":"{place}"}}"#).into_bytes());
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
