//! The sessions of an app, last active first, without more than a few of them in memory.
//!
//! Each shard lists its own, a part at a time; what they have ready is merged.

use std::collections::VecDeque;

use futures_util::future::try_join_all;

use super::{Redis, keys::Keys, live, reply};
use crate::{
    error::Error,
    session::{App, Cursor, Record},
    store::{BATCH_BYTES, Listed, Span, pace::Pace},
};

/// The most sessions that one script reads: Redis serves nobody else for the millisecond that it takes.
pub(super) const LIST: usize = 200;

/// A list that is under way.
pub struct Listing {
    app: App,
    span: Span,
    /// One for each shard.
    parts: Vec<Part>,
    /// The most sessions of a part, and about the most bytes.
    each: (usize, usize),
    pace: Pace,
}

/// What is known of the list of one shard.
struct Part {
    ahead: VecDeque<(Cursor, Record)>,
    after: Option<Cursor>,
    ended: bool,
}

/// What a shard replies.
pub(super) struct Read {
    pub(super) records: Vec<(Cursor, Record)>,
    /// Where to go on, unless the list is at its end.
    pub(super) next: Option<Cursor>,
}

impl Listing {
    /// A list from `shards` of which somebody wants `most` sessions.
    fn new(app: App, span: Span, shards: usize, most: usize, pace: Pace) -> Self {
        let part = || Part {
            ahead: VecDeque::new(),
            after: span.after,
            ended: false,
        };
        let each = match shards {
            1 => (most.clamp(1, LIST), BATCH_BYTES),
            // Of each, as all of them wait in memory.
            many => ((most.saturating_mul(2) / many).clamp(4, 16), BATCH_BYTES / 8),
        };
        Self {
            app,
            span,
            parts: std::iter::repeat_with(part).take(shards).collect(),
            each,
            pace,
        }
    }

    /// The next sessions of those that are at hand: up to the last one of a shard that has more.
    fn take(&mut self) -> Vec<Listed> {
        let mut list = Vec::new();
        while list.len() < LIST && !self.parts.iter().any(Part::hungry) {
            let next = self.parts.iter_mut().max_by_key(|part| part.first());
            let Some((cursor, record)) = next.and_then(|part| part.ahead.pop_front()) else {
                break;
            };
            let session = record.view(self.span.now);
            list.push(Listed { cursor, session });
        }
        list
    }
}

impl Part {
    fn first(&self) -> Option<Cursor> {
        self.ahead.front().map(|(cursor, _)| *cursor)
    }

    fn hungry(&self) -> bool {
        self.ahead.is_empty() && !self.ended
    }
}

impl Redis {
    /// See [`Store::soapp`](crate::store::Store::soapp).
    pub async fn soapp(&self, app: App, span: Span, most: usize) -> Result<Listing, Error> {
        self.indexes_of(app).await?;
        let pace = self.turns.operation();
        Ok(Listing::new(app, span, self.shards.all().len(), most, pace))
    }

    /// See [`Store::more`](crate::store::Store::more).
    pub async fn more(&self, listing: &mut Listing) -> Result<Option<Vec<Listed>>, Error> {
        let (app, span, each) = (listing.app, listing.span, listing.each);
        if listing.parts.iter().any(Part::hungry) {
            let part = listing.pace.part().await?;
            // Those that soon will be are asked as well, at the same time.
            let parts = self.shards.all().iter().zip(&mut listing.parts);
            let hungry = parts.filter(|(_, part)| part.ahead.len() <= each.0 / 4 && !part.ended);
            let fed = hungry.map(async |(keys, part)| {
                let read = self.read_part(keys, app, span, part.after, each).await?;
                let live = |(cursor, record)| Some((cursor, live(Some(record), span.now)?));
                part.ahead.extend(read.records.into_iter().filter_map(live));
                part.ended = read.next.is_none();
                part.after = read.next;
                Ok::<_, Error>(())
            });
            try_join_all(fed).await?;
            part.rest();
        }
        let at_end = listing.parts.iter().all(|part| part.ended && part.ahead.is_empty());
        Ok((!at_end).then(|| listing.take()))
    }

    async fn read_part(
        &self,
        keys: &Keys,
        app: App,
        span: Span,
        after: Option<Cursor>,
        (most, bytes): (usize, usize),
    ) -> Result<Read, Error> {
        let reply = self.servers.script(keys, &self.scripts.soapp, |cmd| {
            cmd.arg(1)
                .arg(keys.sessions(&app))
                .arg(span.since)
                .arg(keys.session_prefix(&app));
            cmd.arg(most).arg(bytes);
            if let Some(after) = after {
                cmd.arg(after.second()).arg(&after.start());
            }
        });
        reply::list(reply.await?, &self.metrics)
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing(…)")
    }
}
