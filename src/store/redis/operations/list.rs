//! Lists that are under way, of an app ([`soapp`](super::soapp)) or of an id ([`soid`](super::soid)).

use crate::{
    session::{App, UserId},
    store::{
        Error, ListQuery, Listed,
        redis::{
            operations::{soapp::OfApp, soid::OfId},
            store::Redis,
        },
        throttle::Throttled,
    },
};

/// A list that is under way.
pub struct Listing {
    kind: Kind,
    pace: Throttled,
}

enum Kind {
    App(OfApp),
    Id(OfId),
}

impl Listing {
    fn new(kind: Kind, pace: Throttled) -> Self {
        Self { kind, pace }
    }

    /// The pace of the next part, unless that is at hand or the end. Why: a short list has one part, and must not wait for a
    /// turn among the long ones to say so.
    pub(crate) fn pace(&mut self) -> Option<&mut Throttled> {
        let asks = match &self.kind {
            Kind::App(list) => list.hungry(),
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

impl Redis {
    /// See [`Store::soapp`](crate::store::Store::soapp).
    pub async fn soapp(&self, app: App, query: ListQuery, most: usize) -> Result<Listing, Error> {
        self.indexes_of(app).await?;
        let list = OfApp::new(app, query, self.shards.all().len(), most);
        Ok(Listing::new(Kind::App(list), self.throttle.operation()))
    }

    /// See [`Store::more`](crate::store::Store::more).
    pub async fn more(&self, listing: &mut Listing) -> Result<Option<Vec<Listed>>, Error> {
        match &mut listing.kind {
            Kind::App(list) => self.more_of_app(list).await,
            Kind::Id(list) => self.more_of_id(list).await,
        }
    }

    /// See [`Store::soid`](crate::store::Store::soid).
    #[must_use]
    pub fn soid(&self, app: App, id: UserId, query: ListQuery, most: usize) -> Listing {
        let list = OfId::new(app, id, query, most, self.budget.clone());
        Listing::new(Kind::Id(list), self.throttle.operation())
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listing(…)")
    }
}
