//! A tournament over slots: which slot holds the largest key, kept up in O(log n) a change.
//!
//! ```text
//!            9            the root is the winner's key
//!        7       9        every inner node is the larger of its two children
//!      3   7   9   0      the leaves are the slots' keys; 0 never wins
//! ```
//! Equal keys: the lower slot wins.

#[derive(Debug, Default)]
pub struct Tournament {
    leaves: usize,
    keys: Vec<u64>,
}

impl Tournament {
    /// Starts over with these keys, in the memory it has.
    pub fn reset(&mut self, keys: impl ExactSizeIterator<Item = u64>) {
        self.leaves = keys.len().next_power_of_two().max(1);
        self.keys.clear();
        self.keys.resize(self.leaves, 0);
        self.keys.extend(keys);
        self.keys.resize(2 * self.leaves, 0);
        for index in (1..self.leaves).rev() {
            self.keys[index] = self.keys[2 * index].max(self.keys[2 * index + 1]);
        }
    }

    /// How many slots it can hold before it must be made anew.
    pub fn capacity(&self) -> usize {
        self.leaves
    }

    pub fn set(&mut self, slot: usize, key: u64) {
        let mut index = self.leaves + slot;
        self.keys[index] = key;
        while index > 1 {
            index /= 2;
            let larger = self.keys[2 * index].max(self.keys[2 * index + 1]);
            if self.keys[index] == larger {
                return;
            }
            self.keys[index] = larger;
        }
    }

    /// The winner, if any key is above 0.
    pub fn winner(&self) -> Option<usize> {
        let best = *self.keys.get(1)?;
        if best == 0 {
            return None;
        }
        let mut index = 1;
        while index < self.leaves {
            index *= 2;
            if self.keys[index] != best {
                index += 1;
            }
        }
        Some(index - self.leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nobody_wins_an_empty_tournament() {
        assert_eq!(Tournament::default().winner(), None);
        let mut tree = Tournament::default();
        tree.reset([0, 0, 0].into_iter());
        assert_eq!(tree.winner(), None);
    }

    proptest! {
        #[test]
        fn the_winner_is_the_first_of_the_largest_keys(
            start in prop::collection::vec(0u64..6, 1..40),
            changes in prop::collection::vec((0usize..40, 0u64..6), 0..60),
        ) {
            let mut keys = start;
            let mut tree = Tournament::default();
            tree.reset([9, 9, 9].into_iter());
            tree.reset(keys.clone().into_iter());
            for (slot, key) in changes {
                let slot = slot % keys.len();
                keys[slot] = key;
                tree.set(slot, key);
                let best = *keys.iter().max().expect("at least one slot");
                let first = (best > 0).then(|| keys.iter().position(|each| *each == best).expect("the largest is among them"));
                prop_assert_eq!(tree.winner(), first);
            }
        }
    }
}
