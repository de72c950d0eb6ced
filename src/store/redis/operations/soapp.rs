//! Lists the sessions of an app, last active first.
//!
//! Each shard returns its own sessions in pages; the pages are merged. A few pages are in memory at a time.

use std::collections::VecDeque;

use futures_util::future::try_join_all;

use crate::{
    session::{App, Cursor, Record},
    store::{
        Error, ListQuery, Listed, PART_BYTES,
        redis::{
            decode::{
                list::{ListPage, list_page},
                nonsense::nonsense,
            },
            layout::Keys,
            operations::{limits::RECORDS_PER_SCRIPT, live::live},
            store::Redis,
        },
    },
};

/// The list of an app that is under way.
pub(crate) struct AppList {
    app: App,
    query: ListQuery,
    /// One for each shard.
    shards: Vec<ShardList>,
    page: PageLimits,
    /// The position of the last session that was returned.
    last: Option<Cursor>,
}

/// How large a page of one shard may be.
#[derive(Clone, Copy)]
struct PageLimits {
    sessions: usize,
    /// About the most bytes.
    bytes: usize,
}

/// The list of one shard.
struct ShardList {
    /// Sessions that were read and not returned yet.
    ahead: VecDeque<(Cursor, Record)>,
    /// The position of the last session that was read.
    after: Option<Cursor>,
    /// Whether the shard has no more pages.
    ended: bool,
}

impl AppList {
    /// A list of about `most` sessions from `shards` shards.
    pub(super) fn new(app: App, query: ListQuery, shards: usize, most: usize) -> Self {
        let page = match shards {
            1 => PageLimits {
                sessions: most.clamp(1, RECORDS_PER_SCRIPT),
                bytes: PART_BYTES,
            },
            // Small, because a page of every shard is in memory at once.
            many => PageLimits {
                sessions: (most.saturating_mul(2) / many).clamp(4, 16),
                bytes: PART_BYTES / 8,
            },
        };
        Self {
            app,
            query,
            shards: std::iter::repeat_with(|| ShardList::starting(query.after))
                .take(shards)
                .collect(),
            page,
            last: query.after,
        }
    }

    /// Whether the next sessions must be read from Redis.
    pub(super) fn needs_read(&self) -> bool {
        self.shards.iter().any(ShardList::needs_read)
    }

    /// Frees memory while the client does not read.
    pub(super) fn release(&mut self) {
        for shard in &mut self.shards {
            // A shard with nothing in memory continues where it is.
            if !shard.ahead.is_empty() {
                *shard = ShardList::starting(self.last);
            }
        }
    }

    /// Merges the sessions in memory, up to the point at which a shard must be read again.
    fn take(&mut self) -> Vec<Listed> {
        let mut list = Vec::new();
        while list.len() < RECORDS_PER_SCRIPT && !self.needs_read() {
            let next = self.shards.iter_mut().max_by_key(|shard| shard.first());
            let Some((cursor, record)) = next.and_then(|shard| shard.ahead.pop_front()) else {
                break;
            };
            self.last = Some(cursor);
            let session = record.view(self.query.now);
            list.push(Listed { cursor, session });
        }
        list
    }

    fn ended(&self) -> bool {
        self.shards.iter().all(|shard| shard.ended && shard.ahead.is_empty())
    }
}

impl ShardList {
    fn starting(after: Option<Cursor>) -> Self {
        Self {
            ahead: VecDeque::new(),
            after,
            ended: false,
        }
    }

    fn first(&self) -> Option<Cursor> {
        self.ahead.front().map(|(cursor, _)| *cursor)
    }

    fn needs_read(&self) -> bool {
        self.ahead.is_empty() && !self.ended
    }
}

impl Redis {
    /// The next sessions; `None` at the end. After an error, the call may be repeated.
    pub(super) async fn next_part_of_app(&self, list: &mut AppList) -> Result<Option<Vec<Listed>>, Error> {
        let (app, query, page) = (list.app, list.query, list.page);
        if list.needs_read() {
            // Shards that have few sessions left in memory are read at the same time.
            let shards = self.shards.all().iter().zip(&mut list.shards);
            let low = shards.filter(|(_, shard)| shard.ahead.len() <= page.sessions / 4 && !shard.ended);
            let reads = low.map(async |(keys, shard)| {
                let read = self.read_page(keys, app, query, shard.after, page).await?;
                // Positions descend; a list that does not move on would never end.
                if let (Some(after), Some(next)) = (shard.after, read.next)
                    && next >= after
                {
                    return Err(nonsense());
                }
                let live = |(cursor, record)| Some((cursor, live(Some(record), query.now)?));
                shard.ahead.extend(read.records.into_iter().filter_map(live));
                shard.ended = read.next.is_none();
                shard.after = read.next;
                Ok::<_, Error>(())
            });
            try_join_all(reads).await?;
        }
        Ok((!list.ended()).then(|| list.take()))
    }

    async fn read_page(
        &self,
        keys: &Keys,
        app: App,
        query: ListQuery,
        after: Option<Cursor>,
        page: PageLimits,
    ) -> Result<ListPage, Error> {
        let reply = self.topology.script(keys, &self.scripts.soapp, |cmd| {
            cmd.arg(1)
                .arg(keys.sessions(&app))
                .arg(query.since)
                .arg(keys.session_prefix(&app));
            cmd.arg(page.sessions).arg(page.bytes);
            if let Some(after) = after {
                cmd.arg(after.second()).arg(&after.start());
            }
        });
        list_page(reply.await?, &self.metrics)
    }
}
