//! Lists that are being sent: of an app ([`soapp`](super::soapp)) or of an id ([`soid`](super::soid)).

use crate::{
    session::{App, UserId},
    store::{
        Error, ListQuery, Listed,
        redis::{
            operations::{soapp::AppList, soid::IdList},
            store::Redis,
        },
        throttle::Throttled,
    },
};

/// A list that is read in parts while it is sent.
pub struct RedisListing {
    list: ListOf,
    throttled: Throttled,
}

enum ListOf {
    App(AppList),
    Id(IdList),
}

impl RedisListing {
    /// The throttle for the next part; `None` if that is in memory or the list has ended. Why: a short list has one
    /// part, and must not queue behind long ones only to report its end.
    pub(crate) fn throttled(&mut self) -> Option<&mut Throttled> {
        let reads_redis = match &self.list {
            ListOf::App(list) => list.needs_read(),
            ListOf::Id(list) => !list.ended(),
        };
        reads_redis.then_some(&mut self.throttled)
    }

    /// Frees memory while the client does not read. The list continues after the last session that it returned.
    pub(crate) fn release(&mut self) {
        match &mut self.list {
            ListOf::App(list) => list.release(),
            ListOf::Id(list) => list.release(),
        }
    }
}

impl Redis {
    /// See [`Store::soapp`](crate::store::Store::soapp).
    pub async fn soapp(&self, app: App, query: ListQuery, most: usize) -> Result<RedisListing, Error> {
        self.flush_app(app).await?;
        let list = AppList::new(app, query, self.shards.all().len(), most);
        Ok(self.listing(ListOf::App(list)))
    }

    /// See [`Store::soid`](crate::store::Store::soid).
    #[must_use]
    pub fn soid(&self, app: App, id: UserId, query: ListQuery, most: usize) -> RedisListing {
        let list = IdList::new(app, id, query, most, self.budget.clone());
        self.listing(ListOf::Id(list))
    }

    fn listing(&self, list: ListOf) -> RedisListing {
        RedisListing {
            list,
            throttled: self.throttle.operation(),
        }
    }

    /// See [`Store::next_part`](crate::store::Store::next_part).
    pub async fn next_part(&self, listing: &mut RedisListing) -> Result<Option<Vec<Listed>>, Error> {
        match &mut listing.list {
            ListOf::App(list) => self.next_part_of_app(list).await,
            ListOf::Id(list) => self.next_part_of_id(list).await,
        }
    }
}

impl std::fmt::Debug for RedisListing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisListing(…)")
    }
}
