//! The sessions of an app, last active first, without more than a few of them in memory.
//!
//! Each shard lists its own, a part at a time; what they have ready is merged.

use std::collections::VecDeque;

use futures_util::future::try_join_all;

use crate::{
    session::{App, Cursor, Record},
    store::{
        BATCH_BYTES, Error, ListQuery, Listed,
        redis::{
            decode::{self, list::ListPart},
            layout::Keys,
            operations::{limits::LIST, live::live},
            store::Redis,
        },
    },
};

/// The list of an app.
pub(crate) struct OfApp {
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

impl OfApp {
    /// A list from `shards` of which somebody wants `most` sessions.
    pub(super) fn new(app: App, query: ListQuery, shards: usize, most: usize) -> Self {
        let part = || Part {
            ahead: VecDeque::new(),
            after: query.after,
            ended: false,
        };
        let each = match shards {
            1 => (most.clamp(1, LIST), BATCH_BYTES),
            // Of each, as all of them wait in memory.
            many => ((most.saturating_mul(2) / many).clamp(4, 16), BATCH_BYTES / 8),
        };
        Self {
            app,
            query,
            parts: std::iter::repeat_with(part).take(shards).collect(),
            each,
            last: query.after,
        }
    }

    /// Whether the next part needs a request.
    pub(super) fn hungry(&self) -> bool {
        self.parts.iter().any(Part::hungry)
    }

    pub(super) fn rest(&mut self) {
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
    pub(super) async fn more_of_app(&self, list: &mut OfApp) -> Result<Option<Vec<Listed>>, Error> {
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
                    return Err(decode::nonsense::nonsense());
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
    ) -> Result<ListPart, Error> {
        let reply = self.topology.script(keys, &self.scripts.soapp, |cmd| {
            cmd.arg(1)
                .arg(keys.sessions(&app))
                .arg(query.since)
                .arg(keys.session_prefix(&app));
            cmd.arg(most).arg(bytes);
            if let Some(after) = after {
                cmd.arg(after.second()).arg(&after.start());
            }
        });
        decode::list::list(reply.await?, &self.metrics)
    }
}
