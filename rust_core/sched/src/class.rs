//! One class of equal pods: its verdict and score on every node, kept up as nodes change.
//!
//! The first pod of a class looks at every node. After that only the nodes in the change log are looked at again (usually the one that took
//! the last pod), and the best of all nodes is the winner of a tournament. The result is that of looking at every node each time.

use std::collections::BTreeMap;

use crate::plugins::{DYNAMIC_SCORERS, FILTERS, STATIC_SCORERS};
use crate::requirements::Requirements;
use crate::snapshot::{Slot, Snapshot};
use crate::tournament::Tournament;

/// Decides between nodes of equal score: 48 bits that look random, from the seed, the node's name and how often it was
/// chosen. The larger wins.
///
/// FNV-1a of the name, then splitmix64. A chosen node draws a new number, so equal nodes take turns.
pub fn tie_break(seed: u64, name: &str, placements: u64) -> u64 {
    tie_of_hash(seed, name_hash(name), placements)
}

pub(crate) fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn tie_of_hash(seed: u64, name_hash: u64, placements: u64) -> u64 {
    let step = placements
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (name_hash ^ seed).wrapping_add(step);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) >> 16
}

const TIE_BITS: u32 = 48;
const STATIC_COUNT: usize = STATIC_SCORERS.len();

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    admitted: bool,
    /// The version of the node's facts that the static parts were computed from.
    version: Option<u32>,
    admitted_by_facts: bool,
    raw: [i64; STATIC_COUNT],
    dynamic: i64,
    tie: u64,
}

#[derive(Debug, Default)]
pub struct ClassState {
    cells: Vec<Cell>,
    tree: Tournament,
    /// For each static scorer: its raw numbers above 0 over the admitted nodes, counted, so that the largest is known.
    raws: [BTreeMap<i64, u32>; STATIC_COUNT],
    largest: [i64; STATIC_COUNT],
    position: u64,
    image_generation: u64,
    built: bool,
}

impl ClassState {
    /// The nodes' cells it holds: what the kernel's bound on classes counts.
    pub fn size(&self) -> usize {
        self.cells.len()
    }

    /// Forgets which class it was for; keeps its memory.
    pub fn reset(&mut self) {
        self.built = false;
    }

    /// The best node now, every node considered.
    pub fn best(&mut self, pod: &Requirements, nodes: &Snapshot, seed: u64) -> Option<Slot> {
        self.catch_up(pod, nodes, seed);
        self.tree.winner().map(|index| Slot(index as u32))
    }

    fn catch_up(&mut self, pod: &Requirements, nodes: &Snapshot, seed: u64) {
        let images_moved = self.image_generation != nodes.image_generation
            && pod
                .images
                .iter()
                .any(|image| nodes.images.contains_key(image.as_str()));
        let changed = nodes
            .changed_since(self.position)
            .filter(|changed| changed.len() <= nodes.slot_count());
        match changed {
            Some(changed)
                if self.built && !images_moved && nodes.slot_count() <= self.tree.capacity() =>
            {
                self.cells.resize(nodes.slot_count(), Cell::default());
                for slot in changed {
                    self.update(pod, nodes, seed, *slot);
                }
                if self.refresh_largest() {
                    self.seat_all();
                } else {
                    for slot in changed {
                        self.seat(*slot);
                    }
                }
            }
            _ => self.build(pod, nodes, seed),
        }
        self.position = nodes.head();
        self.image_generation = nodes.image_generation;
    }

    fn build(&mut self, pod: &Requirements, nodes: &Snapshot, seed: u64) {
        self.cells.clear();
        self.cells.resize(nodes.slot_count(), Cell::default());
        self.raws = std::array::from_fn(|_| BTreeMap::new());
        for index in 0..nodes.slot_count() as u32 {
            self.update(pod, nodes, seed, Slot(index));
        }
        self.refresh_largest();
        self.seat_all();
        self.built = true;
    }

    fn update(&mut self, pod: &Requirements, nodes: &Snapshot, seed: u64, slot: Slot) {
        let cell = &mut self.cells[slot.index()];
        let (was_admitted, raw_before) = (cell.admitted, cell.raw);
        if cell.version != Some(nodes.version(slot)) {
            cell.version = Some(nodes.version(slot));
            cell.admitted_by_facts = nodes.is_present(slot)
                && FILTERS
                    .iter()
                    .filter(|filter| filter.is_static)
                    .all(|filter| (filter.admits)(pod, nodes, slot));
            for (raw, scorer) in cell.raw.iter_mut().zip(&STATIC_SCORERS) {
                *raw = if cell.admitted_by_facts {
                    (scorer.raw)(pod, nodes, slot)
                } else {
                    0
                };
            }
        }
        cell.admitted = cell.admitted_by_facts
            && FILTERS
                .iter()
                .filter(|filter| !filter.is_static)
                .all(|filter| (filter.admits)(pod, nodes, slot));
        if cell.admitted {
            cell.dynamic = DYNAMIC_SCORERS
                .iter()
                .map(|scorer| scorer.weight * (scorer.raw)(pod, nodes, slot))
                .sum();
            cell.tie = tie_of_hash(seed, nodes.name_hash(slot), nodes.placements(slot));
        }
        let (is_admitted, raw_now) = (cell.admitted, cell.raw);
        if was_admitted == is_admitted && raw_before == raw_now {
            return;
        }
        for (index, counts) in self.raws.iter_mut().enumerate() {
            if was_admitted && raw_before[index] > 0 {
                let count = counts
                    .get_mut(&raw_before[index])
                    .expect("an admitted node's raw score is counted");
                *count -= 1;
                if *count == 0 {
                    counts.remove(&raw_before[index]);
                }
            }
            if is_admitted && raw_now[index] > 0 {
                *counts.entry(raw_now[index]).or_insert(0) += 1;
            }
        }
    }

    /// True if a normalised score may have moved on any node.
    fn refresh_largest(&mut self) -> bool {
        let largest = std::array::from_fn(|index| {
            self.raws[index].last_key_value().map_or(0, |(raw, _)| *raw)
        });
        std::mem::replace(&mut self.largest, largest) != largest
    }

    fn key(&self, slot: usize) -> u64 {
        let cell = &self.cells[slot];
        if !cell.admitted {
            return 0;
        }
        let normalized: i64 = STATIC_SCORERS
            .iter()
            .enumerate()
            .map(|(index, scorer)| {
                scorer.weight * scorer.normalize.apply(cell.raw[index], self.largest[index])
            })
            .sum();
        let score = u64::try_from(cell.dynamic + normalized).unwrap_or(0);
        ((score + 1) << TIE_BITS) | cell.tie
    }

    fn seat(&mut self, slot: Slot) {
        let key = self.key(slot.index());
        self.tree.set(slot.index(), key);
    }

    fn seat_all(&mut self) {
        let mut tree = std::mem::take(&mut self.tree);
        tree.reset((0..self.cells.len()).map(|slot| self.key(slot)));
        self.tree = tree;
    }
}
