//! Reads sessions of an id, with the buffered reads that Redis does not have yet.

use std::collections::HashMap;

use deadpool_redis::redis::Value;

use super::id_list::{IdList, TokenRecord};
use crate::{
    session::{App, Token, UserId},
    store::{
        Error, Key, PART_BYTES, SNAPSHOT_BYTES, SNAPSHOT_SESSIONS,
        list_window::Position,
        redis::{
            decode::{self, of_id::ScannedSessions},
            read_buffer::set_guard::SetGuard,
            store::Redis,
        },
    },
};

/// `COUNT` of an `SSCAN`: the script blocks Redis for a millisecond or two.
const SCAN_COUNT: usize = 500;

/// Which records of an id to read.
#[derive(Clone, Copy)]
pub(super) enum RecordSelection<'a> {
    /// All, if they are few and small.
    All,
    /// Those at these positions, from the first on until they are large together.
    At(&'a [Position]),
}

impl Redis {
    /// Scans some sessions of an id: returns the next cursor, the number of all its sessions, and the positions found.
    pub(super) async fn scan_positions(
        &self,
        list: &IdList,
        cursor: &str,
    ) -> Result<(String, u64, Vec<Position>), Error> {
        let (buffer, mut positions, mut racing) = (&self.flusher.buffer, Vec::new(), Vec::new());
        let marks = buffer.marks();
        let scanned = self.scan(list, cursor, &[]).await?;
        for (token, last_active, ttl) in scanned.sessions {
            let key = key_of(list.app, &token);
            let read = key.map_or(0, |key| buffer.last_active(&key));
            if read == 0 && key.is_some_and(|key| buffer.flushed_since(&key, &marks)) {
                racing.push(token);
            } else {
                positions.extend(list.position(&token, last_active.max(read), ttl));
            }
        }
        if !racing.is_empty() {
            // A flush overlapped this read and has ended: Redis has the reads that were buffered.
            let again = self.scan(list, "", &racing).await?;
            let found = again.sessions.iter();
            positions.extend(found.filter_map(|(token, last_active, ttl)| {
                let read = key_of(list.app, token).map_or(0, |key| buffer.last_active(&key));
                list.position(token, read.max(*last_active), *ttl)
            }));
        }
        Ok((scanned.cursor, scanned.members, positions))
    }

    /// When sessions were last active, as Redis has it: some from an `SSCAN` cursor on, or, if that is empty, those of
    /// `tokens`.
    async fn scan(&self, list: &IdList, cursor: &str, tokens: &[Vec<u8>]) -> Result<ScannedSessions, Error> {
        let (app, id) = (list.app, list.id.as_str());
        let keys = self.shards.of_id(&app, id);
        let reply = self.topology.script(keys, &self.scripts.places, |cmd| {
            cmd.arg(1).arg(keys.tokens(&app, id)).arg(keys.session_prefix(&app));
            cmd.arg(cursor);
            if cursor.is_empty() {
                for token in tokens {
                    cmd.arg(token);
                }
            } else {
                cmd.arg(SCAN_COUNT);
            }
        });
        decode::of_id::scanned(reply.await?, &self.metrics)
    }

    /// Reads records as Redis has them; `None` if all were asked for and there are too many.
    async fn read_records(
        &self,
        app: App,
        id: &UserId,
        selection: RecordSelection<'_>,
    ) -> Result<Option<Vec<TokenRecord>>, Error> {
        let (id, keys) = (id.as_str(), self.shards.of_id(&app, id.as_str()));
        match selection {
            RecordSelection::All => {
                let reply = self.topology.script(keys, &self.scripts.soid, |cmd| {
                    cmd.arg(1).arg(keys.tokens(&app, id)).arg(keys.session_prefix(&app));
                    cmd.arg(SNAPSHOT_SESSIONS).arg(SNAPSHOT_BYTES);
                });
                match reply.await? {
                    Value::Int(1) => Ok(None),
                    reply => decode::of_id::tokens_and_records(reply, &self.metrics).map(Some),
                }
            }
            RecordSelection::At(positions) => {
                let reply = self.topology.script(keys, &self.scripts.records, |cmd| {
                    cmd.arg(1).arg(keys.tokens(&app, id)).arg(keys.session_prefix(&app));
                    cmd.arg(PART_BYTES);
                    for position in positions {
                        cmd.arg(position.token());
                    }
                });
                let records = decode::of_id::records(reply.await?, &self.metrics)?;
                let found = positions.iter().zip(records);
                Ok(Some(
                    found
                        .map(|(position, record)| (position.token().to_vec(), record))
                        .collect(),
                ))
            }
        }
    }

    /// Reads records and adds the buffered reads.
    ///
    /// If a flush overlaps a read, the reply may or may not include the buffered reads. Then this reads again, and
    /// holds flushes of those sessions until it is done, so that the second read is unambiguous however often other
    /// sessions are flushed.
    pub(super) async fn read_with_buffer(
        &self,
        app: App,
        id: &UserId,
        selection: RecordSelection<'_>,
    ) -> Result<Option<Vec<TokenRecord>>, Error> {
        let buffer = &self.flusher.buffer;
        let mut held: HashMap<Key, SetGuard<'_>> = HashMap::new();
        loop {
            let marks = buffer.marks();
            let Some(mut found) = self.read_records(app, id, selection).await? else {
                return Ok(None);
            };
            let mut racing = Vec::new();
            for (token, record) in &mut found {
                let (Some(key), Some(record)) = (key_of(app, token), record) else {
                    continue;
                };
                if let Some(hold) = held.get(&key) {
                    hold.take_in(record);
                } else if buffer.overlay(&key, buffer.mark_of(&marks, &key), record).is_err() {
                    racing.push(key);
                }
            }
            if racing.is_empty() {
                return Ok(Some(found));
            }
            for key in racing {
                held.insert(key, buffer.begin_set(key).await);
            }
        }
    }
}

/// The key of a session; `None` for a token of another form, which this service never reads or buffers.
fn key_of(app: App, token: &[u8]) -> Option<Key> {
    let token = Token::parse(std::str::from_utf8(token).ok()?).ok()?;
    Some(Key { app, token })
}
