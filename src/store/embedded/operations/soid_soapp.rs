//! `soid` and `soapp`: begin a list, and read its next part.

use super::Listing;
use crate::{
    session::{App, UserId},
    store::{Error, ListQuery, Listed, embedded::Embedded},
};

impl Embedded {
    pub(crate) async fn soapp(&self, app: App, query: ListQuery, most: usize) -> Result<Listing, Error> {
        self.flush().await?;
        Ok(Listing::of_app(
            app,
            query,
            most,
            self.budget.clone(),
            self.throttle.operation(),
        ))
    }

    pub(crate) fn soid(&self, app: App, id: UserId, query: ListQuery, most: usize) -> Listing {
        Listing::of_id(app, id, query, most, self.budget.clone(), self.throttle.operation())
    }

    pub(crate) async fn next_part(&self, mut listing: Listing) -> Result<(Listing, Option<Vec<Listed>>), Error> {
        if listing.ended() {
            return Ok((listing, None));
        }
        loop {
            let read = self.blocking(move |cache| {
                let list = listing.next(cache);
                Ok((listing, list))
            });
            let (rest, list) = read.await?;
            if list.is_ok() || !self.reopened().await {
                return list.map(|list| (rest, list));
            }
            listing = rest;
        }
    }
}
