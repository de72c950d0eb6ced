//! Who has which slot of a cluster, as its nodes tell.

use std::sync::Arc;

use deadpool_redis::redis::Value;

use crate::store::redis::{layout::SLOTS, pool::server::Server};

/// Who has which slot.
#[derive(Default)]
pub(crate) struct Map {
    pub(crate) generation: u64,
    /// By slot: an index into the masters, or one that is none. Empty before the first answer.
    slots: Vec<u16>,
    pub(crate) masters: Vec<(String, Arc<Server>)>,
}

impl Map {
    /// Who has a slot, as far as is known.
    pub(crate) fn master(&self, slot: u16) -> Option<Arc<Server>> {
        let master = self.slots.get(usize::from(slot))?;
        Some(self.masters.get(usize::from(*master))?.1.clone())
    }

    /// The address of who has a slot, as far as is known.
    pub(crate) fn address(&self, slot: u16) -> Option<&str> {
        let master = self.slots.get(usize::from(slot))?;
        Some(&self.masters.get(usize::from(*master))?.0)
    }

    /// The map that most views have. `node` has the servers by address.
    pub(crate) fn of(views: &[Vec<Range>], generation: u64, node: impl Fn(&str) -> Arc<Server>) -> Self {
        let (addresses, slots) = owners(views);
        let masters = addresses.into_iter().map(|address| {
            let node = node(&address);
            (address, node)
        });
        Self {
            generation,
            slots,
            masters: masters.collect(),
        }
    }
}

/// The addresses of the masters, and by slot an index into them, or one that is none: as most views have it. A node that was
/// cut off may have an old one.
pub(crate) fn owners(views: &[Vec<Range>]) -> (Vec<String>, Vec<u16>) {
    let mut addresses: Vec<String> = Vec::new();
    let mut votes = vec![Vec::<(u16, u32)>::new(); usize::from(SLOTS)];
    for range in views.iter().flatten() {
        let place = addresses.iter().position(|address| *address == range.address);
        let place = place.unwrap_or_else(|| {
            addresses.push(range.address.clone());
            addresses.len() - 1
        });
        let master = u16::try_from(place).unwrap_or(u16::MAX);
        for slot in votes
            .iter_mut()
            .take(usize::from(range.last) + 1)
            .skip(usize::from(range.first))
        {
            match slot.iter_mut().find(|(other, _)| *other == master) {
                Some((_, count)) => *count += 1,
                None => slot.push((master, 1)),
            }
        }
    }
    let winner = |slot: Vec<(u16, u32)>| {
        slot.into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(master, _)| master)
    };
    let slots = votes.into_iter().map(|slot| winner(slot).unwrap_or(u16::MAX));
    (addresses, slots.collect())
}

/// Slots that one master has.
pub(crate) struct Range {
    first: u16,
    last: u16,
    address: String,
}

/// Reads the reply to `CLUSTER SLOTS`; `asked` is the address of who gave it, who may not know its own.
pub(crate) fn ranges(reply: Value, asked: &str) -> Option<Vec<Range>> {
    let items = |value| match value {
        Value::Array(items) => Some(items),
        _ => None,
    };
    let number = |value: Option<Value>| match value {
        Some(Value::Int(number)) => u16::try_from(number).ok(),
        _ => None,
    };
    let ranges = items(reply)?.into_iter().map(|range| {
        let mut parts = items(range)?.into_iter();
        let (first, last) = (number(parts.next())?, number(parts.next())?);
        let mut master = items(parts.next()?)?.into_iter();
        let host = match master.next()? {
            Value::BulkString(host) => String::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            _ => String::new(),
        };
        let host = match host.as_str() {
            "" | "?" => asked.rsplit_once(':')?.0,
            host => host,
        };
        let address = format!("{host}:{}", number(master.next())?);
        (first <= last && last < SLOTS).then_some(Range { first, last, address })
    });
    ranges.collect()
}
