//! Lists that are under way, and the sessions of an app, last active first, without more than a few of them in memory.
//!
//! Each shard lists its own, a part at a time; what they have ready is merged. The sessions of one id are in [`super::of_id`].

use std::collections::VecDeque;

use futures_util::future::try_join_all;

use super::{Redis, keys::Keys, live, of_id::OfId, reply};
use crate::{
    session::{App, Cursor, Record},
    store::Error,
    store::{ListQuery, Listed, PART_BYTES, throttle::Throttled},
};

/// The most sessions that one script reads: Redis serves nobody else for the millisecond that it takes.
pub(super) const LIST: usize = 200;

/// A list that is under way.
pub struct Listing {
    pub(super) kind: Kind,
    pace: Throttled,
}

pub(super) enum Kind {
    App(OfApp),
    Id(OfId),
}

/// The list of an app.
pub(super) struct OfApp {
    app: App,
    query: ListQuery,
    /// One for each shard.
    parts: Vec<Part>,
    /// The most sessions of a part, and about the most bytes.
    each: (usize, usize),
    /// The place of the last session that was answered.
    last: Option<Cursor>,
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
    pub(super) fn new(kind: Kind, pace: Throttled) -> Self {
        Self { kind, pace }
    }

    /// The pace of the next part, unless that is at hand or the end. Why: a short list has one part, and must not wait for a
    /// turn among the long ones to say so.
    pub(crate) fn pace(&mut self) -> Option<&mut Throttled> {
        let asks = match &self.kind {
            Kind::App(list) => list.parts.iter().any(Part::hungry),
            Kind::Id(list) => !list.ended(),
        };
        asks.then_some(&mut self.pace)
    }

    /// Gives memory back while nobody reads. The list goes on after the last session that it has answered.
    pub(crate) fn rest(&mut self) {
        match &mut self.kind {
            Kind::App(list) => list.rest(),
            Kind::Id(list) => list.rest(),
        }
    }
}

impl OfApp {
    /// A list from `shards` of which somebody wants `most` sessions.
    fn new(app: App, query: ListQuery, shards: usize, most: usize) -> Self {
        let part = || Part {
            ahead: VecDeque::new(),
            after: query.after,
            ended: false,
        };
        let each = match shards {
            1 => (most.clamp(1, LIST), PART_BYTES),
            // Of each, as all of them wait in memory.
            many => ((most.saturating_mul(2) / many).clamp(4, 16), PART_BYTES / 8),
        };
        Self {
            app,
            query,
            parts: std::iter::repeat_with(part).take(shards).collect(),
            each,
            last: query.after,
        }
    }

    fn rest(&mut self) {
        for part in &mut self.parts {
            // One that has nothing at hand may go on where it is.
            if !part.ahead.is_empty() {
                *part = Part {
                    ahead: VecDeque::new(),
                    after: self.last,
                    ended: false,
                };
            }
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
            self.last = Some(cursor);
            let session = record.view(self.query.now);
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
    pub async fn soapp(&self, app: App, query: ListQuery, most: usize) -> Result<Listing, Error> {
        self.indexes_of(app).await?;
        let list = OfApp::new(app, query, self.shards.all().len(), most);
        Ok(Listing::new(Kind::App(list), self.turns.operation()))
    }

    /// See [`Store::more`](crate::store::Store::more).
    pub async fn more(&self, listing: &mut Listing) -> Result<Option<Vec<Listed>>, Error> {
        match &mut listing.kind {
            Kind::App(list) => self.more_of_app(list).await,
            Kind::Id(list) => self.more_of_id(list).await,
        }
    }

    async fn more_of_app(&self, list: &mut OfApp) -> Result<Option<Vec<Listed>>, Error> {
        let (app, query, each) = (list.app, list.query, list.each);
        if list.parts.iter().any(Part::hungry) {
            // Those that soon will be are asked as well, at the same time.
            let parts = self.shards.all().iter().zip(&mut list.parts);
            let hungry = parts.filter(|(_, part)| part.ahead.len() <= each.0 / 4 && !part.ended);
            let fed = hungry.map(async |(keys, part)| {
                let read = self.read_part(keys, app, query, part.after, each).await?;
                // Lists run from the greatest to the least: one that stands still would never end.
                if part
                    .after
                    .is_some_and(|after| read.next.is_some_and(|next| next >= after))
                {
                    return Err(reply::nonsense());
                }
                let live = |(cursor, record)| Some((cursor, live(Some(record), query.now)?));
                part.ahead.extend(read.records.into_iter().filter_map(live));
                part.ended = read.next.is_none();
                part.after = read.next;
                Ok::<_, Error>(())
            });
            try_join_all(fed).await?;
        }
        let at_end = list.parts.iter().all(|part| part.ended && part.ahead.is_empty());
        Ok((!at_end).then(|| list.take()))
    }

    async fn read_part(
        &self,
        keys: &Keys,
        app: App,
        query: ListQuery,
        after: Option<Cursor>,
        (most, bytes): (usize, usize),
    ) -> Result<Read, Error> {
        let reply = self.servers.script(keys, &self.scripts.soapp, |cmd| {
            cmd.arg(1)
                .arg(keys.sessions(&app))
                .arg(query.since)
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
