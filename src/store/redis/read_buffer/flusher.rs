//! Flushes buffered reads to Redis: periodically, before operations that need the indexes, and at shutdown.

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

/// A flush of the whole buffer is spread over its period in this many steps. Why: gets would have to wait for one large
/// flush.
const STEPS: usize = 128;

/// Sessions in one script, which blocks Redis for a third of a millisecond. Why not fewer: batches run one after the
/// other, and many small ones take longer in total.
const BATCH: usize = 50;

/// The read buffer, and what is needed to write it to Redis.
pub(crate) struct Flusher {
    pub(crate) buffer: ReadBuffer,
    /// The longest time for which a read is buffered; 0: each get writes its read itself.
    pub(crate) period: Duration,
    topology: Arc<Topology>,
    shards: Arc<Shards>,
    script: Script,
    metrics: Arc<Metrics>,
}

impl Flusher {
    pub(crate) fn new(
        period: Duration,
        near: Option<Arc<NearCache>>,
        topology: Arc<Topology>,
        shards: Arc<Shards>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            buffer: ReadBuffer::new(shards.all().len() > 1, near),
            period,
            topology,
            shards,
            script: Script::touch(),
            metrics,
        }
    }

    /// Flushes periodically, until the task is aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        let steps = usize::try_from(self.period.as_millis()).map_or(STEPS, |most| most.clamp(1, STEPS));
        let mut ticks = tokio::time::interval(self.period / u32::try_from(steps).unwrap_or(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut failed = false;
            for step in 0..steps {
                ticks.tick().await;
                let shards = SHARDS * step / steps..SHARDS * (step + 1) / steps;
                // The cause is logged and the reads stay buffered; the next round retries.
                failed = failed || self.flush_shards(shards, |_| true).await.is_err();
            }
        }
    }

    /// A get flushes at once if the session ends in Redis within so many seconds. Why: the next flushes may fail, and
    /// the clocks of other readers differ.
    pub(crate) fn margin(&self) -> Seconds {
        2 * self.period.as_secs() + 3
    }

    /// Flushes the reads of the `wanted` sessions. Leaves out sessions with a set in flight, which renews them.
    pub(crate) async fn flush(&self, wanted: impl Fn(&Key) -> bool) -> Result<(), Error> {
        self.flush_shards(0..SHARDS, wanted).await
    }

    /// Flushes what is buffered when it starts; reads that come later are left for the next flush.
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

    /// Flushes the reads of one session.
    pub(crate) async fn flush_one(&self, key: &Key) -> Result<(), Error> {
        self.buffer.wait_for_flush(key).await;
        match self.buffer.take_one(key) {
            Some(reads) => self.write(&[reads]).await,
            None => Ok(()),
        }
    }

    async fn write(&self, batch: &[BufferedReads]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        // Ends the batch on every way out, also if the future is dropped or panics.
        let mut guard = BatchGuard {
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
        guard.written = result.is_ok();
        result.map(drop)
    }

    /// Runs `touch.lua`. All sessions of a batch are in one shard.
    async fn send(&self, batch: &[BufferedReads]) -> Result<u64, Error> {
        let Some(keys) = batch.first().and_then(|reads| self.shards.of(&reads.key.token)) else {
            return Ok(0);
        };
        let reply = self.topology.script(keys, &self.script, |cmd| {
            cmd.arg(1).arg(keys.ends());
            cmd.arg(keys.prefix())
                .arg(layout::SESSIONS)
                .arg(layout::USERS)
                .arg(layout::TOKENS);
            for reads in batch {
                cmd.arg(reads.key.app.as_str()).arg(reads.key.token.as_str());
                cmd.arg(reads.reads).arg(reads.last_active);
            }
        });
        decode::counts::count(&reply.await?)
    }
}

/// Ends a batch in flight when it is dropped.
struct BatchGuard<'a> {
    buffer: &'a ReadBuffer,
    batch: &'a [BufferedReads],
    written: bool,
}

impl Drop for BatchGuard<'_> {
    fn drop(&mut self) {
        self.buffer.end(self.batch, self.written);
    }
}
