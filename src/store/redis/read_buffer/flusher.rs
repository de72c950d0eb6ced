//! Writes noted reads to Redis: every now and then, before whoever needs the indexes, and at the end.

use std::{ops::Range, sync::Arc, time::Duration};

use crate::{
    observability::metrics::Metrics,
    session::Seconds,
    store::{
        Error, Key,
        redis::{
            decode, layout,
            near_cache::cache::NearCache,
            read_buffer::{
                buffer::{ReadBuffer, SHARDS},
                entry::BufferedReads,
            },
            scripts::Script,
            topology::{routing::Topology, shards::Shards},
        },
    },
};

/// In how many parts all entries are written, evenly spread over the time that they have: gets would have to wait for all of
/// them at once.
const PARTS: usize = 128;

/// Sessions in one script: Redis serves nobody else for the third of a millisecond that it takes. Smaller ones take longer all
/// together, too long when there are many: each waits for the one before.
const BATCH: usize = 50;

/// The noted reads, and the way to Redis.
pub(crate) struct Flusher {
    pub(crate) buffer: ReadBuffer,
    /// The longest time that a read stays a entry; 0: reads are written at once and never noted.
    pub(crate) period: Duration,
    topology: Arc<Topology>,
    shards: Arc<Shards>,
    script: Script,
    metrics: Arc<Metrics>,
}

impl Flusher {
    pub(crate) fn new(
        every: Duration,
        near: Option<Arc<NearCache>>,
        topology: Arc<Topology>,
        shards: Arc<Shards>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            buffer: ReadBuffer::new(shards.all().len() > 1, near),
            period: every,
            topology,
            shards,
            script: Script::touch(),
            metrics,
        }
    }

    /// Writes from time to time, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let parts = usize::try_from(self.period.as_millis()).map_or(PARTS, |most| most.clamp(1, PARTS));
        let mut ticks = tokio::time::interval(self.period / u32::try_from(parts).unwrap_or(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut away = false;
            for part in 0..parts {
                ticks.tick().await;
                let shards = SHARDS * part / parts..SHARDS * (part + 1) / parts;
                // Why it failed is logged; what is noted stays so. The next try is that of the next round.
                away = away || self.flush_shards(shards, |_| true).await.is_err();
            }
        }
    }

    /// How long before its end, as Redis knows it, a session is renewed there at once, in seconds: somebody else may look,
    /// with another clock, and a batch may fail before one succeeds.
    pub(crate) fn margin(&self) -> Seconds {
        2 * self.period.as_secs() + 3
    }

    /// Writes what is noted of the `wanted` sessions. Those with a set under way are left out: it renews them.
    pub(crate) async fn flush(&self, wanted: impl Fn(&Key) -> bool) -> Result<(), Error> {
        self.flush_shards(0..SHARDS, wanted).await
    }

    /// Writes what is noted now; what is noted meanwhile is for the next time.
    async fn flush_shards(&self, shards: Range<usize>, wanted: impl Fn(&Key) -> bool) -> Result<(), Error> {
        for shard in shards {
            let keys = self.buffer.noted(shard, &wanted);
            let mut left = Vec::new();
            for keys in keys.chunks(BATCH) {
                let (batch, others) = self.buffer.take(shard, keys);
                self.write(&batch).await?;
                left.extend(others);
            }
            for key in left {
                self.flush_one(&key).await?;
            }
        }
        Ok(())
    }

    /// Writes what is noted of one session.
    pub(crate) async fn flush_one(&self, key: &Key) -> Result<(), Error> {
        self.buffer.wait_for_flush(key).await;
        match self.buffer.take_one(key) {
            Some(touch) => self.write(&[touch]).await,
            None => Ok(()),
        }
    }

    async fn write(&self, batch: &[BufferedReads]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        // However this ends, also by a panic or by not being waited for, the batch does.
        let mut ending = Ending {
            buffer: &self.buffer,
            batch,
            written: false,
        };
        self.metrics.operations("touch").inc();
        let result = self.send(batch).await;
        match result {
            Ok(0) => {}
            _ => self.metrics.store_errors("touch").inc(),
        }
        ending.written = result.is_ok();
        result.map(drop)
    }

    /// All of a batch are in one shard.
    async fn send(&self, batch: &[BufferedReads]) -> Result<u64, Error> {
        let Some(keys) = batch.first().and_then(|touch| self.shards.of(&touch.key.token)) else {
            return Ok(0);
        };
        let reply = self.topology.script(keys, &self.script, |cmd| {
            cmd.arg(1).arg(keys.ends());
            cmd.arg(keys.prefix())
                .arg(layout::SESSIONS)
                .arg(layout::USERS)
                .arg(layout::TOKENS);
            for touch in batch {
                cmd.arg(touch.key.app.as_str()).arg(touch.key.token.as_str());
                cmd.arg(touch.reads).arg(touch.last_active);
            }
        });
        decode::counts::count(&reply.await?)
    }
}

/// A batch under way.
struct Ending<'a> {
    buffer: &'a ReadBuffer,
    batch: &'a [BufferedReads],
    written: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.buffer.end(self.batch, self.written);
    }
}
