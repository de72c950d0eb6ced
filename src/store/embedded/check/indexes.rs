//! The indexes: each entry has its session, and outlived activity has an id with sessions.

use super::Check;
use crate::{
    session::{App, UserId},
    store::{
        Location,
        embedded::{codec, engine::Refused},
    },
};

impl Check<'_> {
    pub(super) fn users(&mut self) -> Result<(), Refused> {
        let engine = self.engine.clone();
        for entry in engine.users.iter() {
            let Some((bytes, _)) = self.read(entry) else { break };
            match codec::parse_user_key(&bytes) {
                None => self.remove("unreadable entry of the index of ids", &engine.users, &bytes, None),
                Some((key, id)) => {
                    if self.lacks(&key, |stored| stored.record.id == id) {
                        let place = Some((&key, Some(id.as_str())));
                        let kind = "entry of the index of ids without a session";
                        self.remove(kind, &engine.users, &bytes, place);
                    }
                }
            }
            self.repairs.commit_if_full()?;
        }
        self.repairs.commit()
    }

    pub(super) fn activity(&mut self) -> Result<(), Refused> {
        let engine = self.engine.clone();
        for entry in engine.activity.iter() {
            let Some((bytes, value)) = self.read(entry) else { break };
            if let Some((app, id, _)) = codec::outlived(&bytes, &value) {
                self.outlived(app, &id, &bytes);
                continue;
            }
            match codec::activity(&bytes, &value) {
                None => {
                    let kind = "unreadable entry of the index of activity";
                    self.remove(kind, &engine.activity, &bytes, None);
                }
                Some(entry) => {
                    if self.lacks(&entry.key, |stored| stored.active == entry.active) {
                        let place = Some((&entry.key, Some(entry.id.as_str())));
                        let kind = "entry of the index of activity without a session";
                        self.remove(kind, &engine.activity, &bytes, place);
                    }
                }
            }
            self.repairs.commit_if_full()?;
        }
        self.repairs.commit()
    }

    fn outlived(&mut self, app: App, id: &UserId, bytes: &[u8]) {
        let engine = self.engine.clone();
        if engine.users.prefix(codec::user_prefix(app, id)).next().is_some() {
            return;
        }
        let repaired = self.repairs.repair(|batch| batch.remove_entry(&engine.activity, bytes));
        let place = Location {
            app: app.as_str(),
            id: Some(id.as_str()),
            token: None,
            shard: None,
        };
        self.report
            .disagreement("activity of an id without a session", place, repaired);
    }
}
