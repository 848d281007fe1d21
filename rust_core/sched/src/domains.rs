//! Sums over topology domains, kept up node by node.
//!
//! Each node has a share (how many pods there match, say) and counts in one domain or in none:
//!
//! ```text
//! slot      0     1     2     3        sums   a: 5   b: 1     the domains that exist, by sum: 1 → one, 5 → one
//! domain    a     a     b     -        a change to a node's share or domain moves one or two sums
//! share     2     3     1     7
//! ```

use std::collections::BTreeMap;

use crate::snapshot::Slot;

const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Clone)]
pub struct Domains {
    shares: Vec<i64>,
    counted_in: Vec<u32>,
    sums: Vec<i64>,
    /// Nodes that count in it: a domain exists while there are some.
    members: Vec<u32>,
    /// How many domains have each sum; kept only where the smallest is asked for.
    by_sum: Option<BTreeMap<i64, u32>>,
    existing: usize,
    total: i64,
}

impl Domains {
    pub fn new(slots: usize, ordered: bool) -> Domains {
        Domains {
            shares: vec![0; slots],
            counted_in: vec![NOWHERE; slots],
            sums: Vec::new(),
            members: Vec::new(),
            by_sum: ordered.then(BTreeMap::new),
            existing: 0,
            total: 0,
        }
    }

    pub fn grow(&mut self, slots: usize) {
        self.shares.resize(slots, 0);
        self.counted_in.resize(slots, NOWHERE);
    }

    pub fn share(&self, slot: Slot) -> i64 {
        self.shares[slot.index()]
    }

    pub fn is_counted(&self, slot: Slot) -> bool {
        self.counted_in[slot.index()] != NOWHERE
    }

    pub fn sum(&self, domain: u32) -> i64 {
        self.sums.get(domain as usize).copied().unwrap_or(0)
    }

    pub fn total(&self) -> i64 {
        self.total
    }

    /// What reaches every node when it moves: how many domains there are, the smallest sum, whether anything counts at all.
    pub fn horizon(&self) -> (usize, i64, bool) {
        let smallest = self.by_sum.as_ref().and_then(|sums| sums.first_key_value());
        (
            self.existing,
            smallest.map_or(0, |(sum, _)| *sum),
            self.total == 0,
        )
    }

    /// Domains with a node that counts.
    pub fn existing(&self) -> usize {
        self.existing
    }

    /// The smallest sum if one domain's sum was `change` more; 0 without domains.
    pub fn smallest_if(&self, domain: u32, change: i64) -> i64 {
        let Some(by_sum) = &self.by_sum else {
            return 0;
        };
        let mut ascending = by_sum.iter();
        let Some((first, count)) = ascending.next() else {
            return 0;
        };
        let is_member = self
            .members
            .get(domain as usize)
            .is_some_and(|count| *count > 0);
        if change == 0 || !is_member {
            return *first;
        }
        let sum = self.sum(domain);
        let others = if *first != sum || *count > 1 {
            Some(*first)
        } else {
            ascending.next().map(|(second, _)| *second)
        };
        others.map_or(sum + change, |others| others.min(sum + change))
    }

    /// Sets a node's share and where it counts. Gives whether other nodes are in a domain that it moved by that.
    pub fn set(&mut self, slot: Slot, domain: Option<u32>, share: i64) -> bool {
        let domain = domain.unwrap_or(NOWHERE);
        let (before, share_before) = (self.counted_in[slot.index()], self.shares[slot.index()]);
        if before == domain && share_before == share {
            return false;
        }
        self.shares[slot.index()] = share;
        self.counted_in[slot.index()] = domain;
        if before == domain {
            if domain == NOWHERE {
                return false;
            }
            self.shift(domain, share - share_before, 0);
            return self.members[domain as usize] > 1;
        }
        let mut has_others = false;
        if before != NOWHERE {
            self.shift(before, -share_before, -1);
            has_others |= self.members[before as usize] > 0;
        }
        if domain != NOWHERE {
            self.shift(domain, share, 1);
            has_others |= self.members[domain as usize] > 1;
        }
        has_others
    }

    fn shift(&mut self, domain: u32, change: i64, members: i32) {
        let index = domain as usize;
        if index >= self.sums.len() {
            self.sums.resize(index + 1, 0);
            self.members.resize(index + 1, 0);
        }
        let was_there = self.members[index] > 0;
        let sum_before = self.sums[index];
        self.sums[index] += change;
        self.members[index] = self.members[index].wrapping_add_signed(members);
        self.total += change;
        let is_there = self.members[index] > 0;
        self.existing = self.existing + usize::from(is_there) - usize::from(was_there);
        let Some(by_sum) = &mut self.by_sum else {
            return;
        };
        if was_there {
            match by_sum.get_mut(&sum_before) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    by_sum.remove(&sum_before);
                }
            }
        }
        if is_there {
            *by_sum.entry(self.sums[index]).or_insert(0) += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_those_of_adding_up_all_nodes_again(
            changes in prop::collection::vec((0u32..6, prop::option::of(0u32..4), 0i64..5), 1..60),
            asked in 0u32..4, change in -3i64..4,
        ) {
            let mut domains = Domains::new(6, true);
            let mut plain: Vec<(Option<u32>, i64)> = vec![(None, 0); 6];
            for (slot, domain, share) in changes {
                plain[slot as usize] = (domain, share);
                domains.set(Slot(slot), domain, share);
                let mut sums: BTreeMap<u32, i64> = BTreeMap::new();
                for (domain, share) in &plain {
                    if let Some(domain) = domain {
                        *sums.entry(*domain).or_insert(0) += share;
                    }
                }
                for domain in 0..4 {
                    prop_assert_eq!(domains.sum(domain), sums.get(&domain).copied().unwrap_or(0));
                }
                prop_assert_eq!(domains.existing(), sums.len());
                prop_assert_eq!(domains.total(), sums.values().sum::<i64>());
                if let Some(sum) = sums.get_mut(&asked) {
                    *sum += change;
                }
                prop_assert_eq!(domains.smallest_if(asked, change), sums.values().copied().min().unwrap_or(0));
            }
        }
    }
}
