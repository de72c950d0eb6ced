//! Which node of a cluster serves which slot, as its nodes see it.

use deadpool_redis::redis::Value;

use crate::store::redis::layout::SLOTS;

/// The map of slots to nodes of type `N`.
pub(crate) struct SlotMap<N> {
    /// Grows with each refresh.
    pub(crate) generation: u64,
    /// By slot: an index into `masters`, or one beyond its end. Empty before the first refresh.
    slots: Vec<u16>,
    /// The masters, by address.
    pub(crate) masters: Vec<(String, N)>,
}

impl<N> Default for SlotMap<N> {
    fn default() -> Self {
        Self {
            generation: 0,
            slots: Vec::new(),
            masters: Vec::new(),
        }
    }
}

impl<N> SlotMap<N> {
    /// The address of the master that serves a slot, and the master; `None` if it is unknown.
    pub(crate) fn master(&self, slot: u16) -> Option<&(String, N)> {
        let master = self.slots.get(usize::from(slot))?;
        self.masters.get(usize::from(*master))
    }

    /// The map that the majority of views agrees on. `node` makes a node of an address.
    pub(crate) fn of_majority(views: &[Vec<SlotRange>], generation: u64, node: impl Fn(&str) -> N) -> Self {
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

/// The addresses of the masters, and by slot an index into them or one beyond their end. The majority of views
/// decides: a node that was partitioned may have an old one.
pub(crate) fn owners(views: &[Vec<SlotRange>]) -> (Vec<String>, Vec<u16>) {
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

/// Consecutive slots of one master.
pub(crate) struct SlotRange {
    first: u16,
    last: u16,
    address: String,
}

/// Decodes the reply to `CLUSTER SLOTS`. `asked` is the address of the node that replied: it may leave out its own
/// host.
pub(crate) fn ranges(reply: Value, asked: &str) -> Option<Vec<SlotRange>> {
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
        (first <= last && last < SLOTS).then_some(SlotRange { first, last, address })
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(master: &str) -> Vec<SlotRange> {
        vec![SlotRange {
            first: 0,
            last: 100,
            address: master.to_owned(),
        }]
    }

    #[test]
    fn the_majority_of_views_decides() {
        let views = [view("old:1"), view("new:1"), view("new:1")];
        let map = SlotMap::of_majority(&views, 1, str::len);
        assert_eq!(map.master(100), Some(&("new:1".to_owned(), 5)));
        assert_eq!(map.master(101), None);
        assert_eq!(SlotMap::<()>::default().master(0), None);
    }
}
