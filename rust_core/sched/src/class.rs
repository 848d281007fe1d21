//! One class of equal pods: its verdict and score on every node, kept up as nodes change.
//!
//! The first pod of a class looks at every node. After that only the nodes in the change log are looked at again (usually the one that took
//! the last pod), and the best of all nodes is the winner of a tournament. Where pods mean something to each other, a change at one node can
//! move verdicts and scores everywhere: the sums are kept up in the same way, and every node is compared with them again. The result is that
//! of looking at every node each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kinds::PodKind;
use crate::labels::LabelSelector;
use crate::neighbours::{Neighbours, Reach};
use crate::plugins::{Change, OF_NEIGHBOURS, OF_NODE, OF_PODS, View};
use crate::profile::Profile;
use crate::requirements::Requirements;
use crate::scores::{DYNAMIC_SCORERS, NEIGHBOUR_SCORERS, SCORE_MAX, STATIC_SCORERS};
use crate::snapshot::{Slot, Snapshot};
use crate::tournament::Tournament;
use crate::volumes::Needs;

/// Decides between nodes of equal score: 40 bits that look random, from the seed, the node's name and how often it was
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
    (mixed ^ (mixed >> 31)) >> (u64::BITS - TIE_BITS)
}

const TIE_BITS: u32 = 40;
/// A node's weighted sum counts up to here; profiles whose weights could pass it are refused.
const SCORE_SUM_MAX: u64 = (1 << (u64::BITS - TIE_BITS)) - 2;
const STATIC_COUNT: usize = STATIC_SCORERS.len();

/// Whom a decision is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub profile: &'a Profile,
    pub pod: &'a Requirements,
    pub kind: &'a Arc<PodKind>,
    /// None: it has no claims.
    pub needs: Option<&'a Needs>,
    /// Pods there mean something to it, or it to them.
    pub involved: bool,
    /// Whom the profile's default spread constraints count, if they apply.
    pub defaults: Option<&'a LabelSelector>,
    /// Room that is promised to more important pods, by node.
    pub promised: &'a [(Slot, Change)],
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// By all filters.
    admitted: bool,
    /// By the filters that look at this node alone.
    admitted_alone: bool,
    /// The version of the node's facts that the static parts were computed from.
    version: Option<u32>,
    admitted_by_facts: bool,
    /// It fits, but the room is promised.
    barred: bool,
    raw: [i64; STATIC_COUNT],
    dynamic: [i64; DYNAMIC_SCORERS.len()],
    /// Of spreading and of affinity.
    social: [i64; 2],
    tie: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Generations {
    images: u64,
    topologies: u64,
    namespaces: u64,
    volumes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Weights {
    of_static: [i64; STATIC_COUNT],
    of_dynamic: [i64; DYNAMIC_SCORERS.len()],
    of_social: [i64; 2],
}

#[derive(Debug, Default)]
pub struct ClassState {
    weights: Weights,
    cells: Vec<Cell>,
    tree: Tournament,
    /// For each static scorer: its raw numbers above 0 over the admitted nodes, counted, so that the largest is known.
    raws: [BTreeMap<i64, u32>; STATIC_COUNT],
    largest: [i64; STATIC_COUNT],
    neighbours: Option<Neighbours>,
    barred: Vec<Slot>,
    position: u64,
    generations: Generations,
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

    pub fn neighbours(&self) -> Option<&Neighbours> {
        self.neighbours.as_ref()
    }

    pub fn admits(&self, slot: Slot) -> bool {
        self.cells[slot.index()].admitted
    }

    /// The best node now, every node considered.
    pub fn best(&mut self, subject: &Subject<'_>, nodes: &Snapshot, seed: u64) -> Option<Slot> {
        self.catch_up(subject, nodes, seed);
        self.tree.winner().map(|index| Slot(index as u32))
    }

    fn catch_up(&mut self, subject: &Subject<'_>, nodes: &Snapshot, seed: u64) {
        let generations = Generations {
            images: nodes.image_generation,
            topologies: nodes.topologies.generation,
            namespaces: nodes.namespaces.generation,
            volumes: nodes.volumes.generation,
        };
        let changed = nodes
            .changed_since(self.position)
            .filter(|changed| changed.len() <= nodes.slot_count());
        let can_go_on = self.built
            && nodes.slot_count() <= self.tree.capacity()
            && !self.is_overtaken(subject, nodes, generations);
        match changed {
            Some(changed) if can_go_on => {
                self.cells.resize(nodes.slot_count(), Cell::default());
                let reach = self.look_again(subject, nodes, seed, changed);
                let barred = self.bar(subject, nodes);
                let touched = || changed.iter().chain(&barred);
                if reach == Reach::Everywhere {
                    if touched().next().is_some() {
                        self.compare_all(subject, nodes);
                    }
                } else {
                    for slot in touched() {
                        self.compare(subject, nodes, *slot);
                    }
                    if self.refresh_largest() {
                        self.seat_all();
                    } else {
                        for slot in touched() {
                            self.seat(*slot);
                        }
                    }
                }
            }
            _ => self.build(subject, nodes, seed),
        }
        self.position = nodes.head();
        self.generations = generations;
    }

    /// Something moved that reaches beyond single nodes: images, the numbers of domains, namespaces' labels.
    fn is_overtaken(&self, subject: &Subject<'_>, nodes: &Snapshot, now: Generations) -> bool {
        let known = self.generations;
        let is_held = |image: &String| nodes.images.contains_key(image.as_str());
        (known.volumes != now.volumes && subject.needs.is_some())
            || (known.images != now.images && subject.pod.images.iter().any(is_held))
            || (subject.involved
                && (known.topologies, known.namespaces) != (now.topologies, now.namespaces))
    }

    fn build(&mut self, subject: &Subject<'_>, nodes: &Snapshot, seed: u64) {
        self.cells.clear();
        self.cells.resize(nodes.slot_count(), Cell::default());
        self.barred.clear();
        let profile = subject.profile;
        self.weights = Weights {
            of_static: profile.static_weights,
            of_dynamic: profile.dynamic_weights,
            of_social: [profile.spread_weight, profile.affinity_weight],
        };
        self.raws = std::array::from_fn(|_| BTreeMap::new());
        self.neighbours = subject.involved.then(|| {
            Neighbours::new(
                subject.kind,
                subject.pod,
                subject.defaults,
                subject.profile,
                nodes,
            )
        });
        let all: Vec<Slot> = (0..nodes.slot_count() as u32).map(Slot).collect();
        self.look_again(subject, nodes, seed, &all);
        self.bar(subject, nodes);
        if self.neighbours.is_some() {
            self.compare_all(subject, nodes);
        } else {
            self.refresh_largest();
            self.seat_all();
        }
        self.built = true;
    }

    /// How far the changes at these nodes reach.
    fn look_again(
        &mut self,
        subject: &Subject<'_>,
        nodes: &Snapshot,
        seed: u64,
        slots: &[Slot],
    ) -> Reach {
        let mut reach = Reach::Here;
        for slot in slots {
            self.update(subject, nodes, seed, *slot);
            if let Some(neighbours) = &mut self.neighbours {
                reach = reach.max(neighbours.update(subject.pod, nodes, *slot));
            }
        }
        let compares = self
            .neighbours
            .as_ref()
            .is_some_and(Neighbours::compares_nodes);
        if compares { Reach::Everywhere } else { reach }
    }

    fn update(&mut self, subject: &Subject<'_>, nodes: &Snapshot, seed: u64, slot: Slot) {
        self.admit(slot, false);
        let view = View {
            profile: subject.profile,
            pod: subject.pod,
            nodes,
            needs: subject.needs,
            neighbours: None,
            change: None,
        };
        let cell = &mut self.cells[slot.index()];
        if cell.version != Some(nodes.version(slot)) {
            cell.version = Some(nodes.version(slot));
            cell.admitted_by_facts =
                nodes.is_present(slot) && view.refusal(slot, &OF_NODE).is_none();
            for (raw, scorer) in cell.raw.iter_mut().zip(&STATIC_SCORERS) {
                *raw = if cell.admitted_by_facts {
                    (scorer.raw)(&view, slot)
                } else {
                    0
                };
            }
        }
        cell.admitted_alone = cell.admitted_by_facts && view.refusal(slot, &OF_PODS).is_none();
        if cell.admitted_alone {
            for (score, scorer) in cell.dynamic.iter_mut().zip(&DYNAMIC_SCORERS) {
                *score = (scorer.raw)(&view, slot);
            }
            cell.tie = tie_of_hash(seed, nodes.name_hash(slot), nodes.placements(slot));
        }
        let admitted = cell.admitted_alone && !cell.barred;
        self.admit(slot, admitted);
    }

    /// Finds where the room is promised to others, and takes back bars that no longer hold. Gives the nodes where that changed.
    fn bar(&mut self, subject: &Subject<'_>, nodes: &Snapshot) -> Vec<Slot> {
        let before = std::mem::take(&mut self.barred);
        for (slot, promised) in subject.promised {
            let mut change = promised.clone();
            if let Some(neighbours) = &mut self.neighbours {
                for (kind, _) in change.kinds() {
                    neighbours.learn(*kind, nodes);
                }
                change.shift(Some(neighbours));
            }
            let view = View {
                profile: subject.profile,
                pod: subject.pod,
                nodes,
                needs: subject.needs,
                neighbours: self.neighbours.as_ref(),
                change: Some(&change),
            };
            let refuses = |filters: &[usize]| view.refusal(*slot, filters).is_some();
            let fits_alone = self.cells[slot.index()].admitted_alone;
            if fits_alone && (refuses(&OF_PODS) || refuses(&OF_NEIGHBOURS)) {
                self.barred.push(*slot);
            }
        }
        let is_new = |slot: &&Slot| !self.cells[slot.index()].barred;
        let mut turned: Vec<Slot> = self.barred.iter().filter(is_new).copied().collect();
        turned.extend(before.iter().filter(|slot| !self.barred.contains(slot)));
        for slot in &turned {
            let cell = &mut self.cells[slot.index()];
            cell.barred = !cell.barred;
            let admitted = cell.admitted_alone && !cell.barred;
            self.admit(*slot, admitted);
        }
        turned
    }

    /// The verdict on a node; its raw scores count among the largest while it is admitted.
    fn admit(&mut self, slot: Slot, admitted: bool) {
        let cell = &mut self.cells[slot.index()];
        if std::mem::replace(&mut cell.admitted, admitted) == admitted {
            return;
        }
        for (raw, counts) in cell.raw.into_iter().zip(&mut self.raws) {
            if raw <= 0 {
                continue;
            }
            let count = counts.entry(raw).or_insert(0);
            if admitted {
                *count += 1;
            } else if *count > 1 {
                *count -= 1;
            } else {
                counts.remove(&raw);
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

    // ───────── pods that mean something to each other ─────────

    /// Compares one node with the sums: its verdict.
    fn compare(&mut self, subject: &Subject<'_>, nodes: &Snapshot, slot: Slot) {
        let Some(neighbours) = &self.neighbours else {
            return;
        };
        let view = View {
            profile: subject.profile,
            pod: subject.pod,
            nodes,
            needs: subject.needs,
            neighbours: Some(neighbours),
            change: None,
        };
        let cell = &self.cells[slot.index()];
        let admitted =
            cell.admitted_alone && !cell.barred && view.refusal(slot, &OF_NEIGHBOURS).is_none();
        self.admit(slot, admitted);
    }

    /// Compares every node with the sums: verdicts, then scores over the nodes that are left.
    fn compare_all(&mut self, subject: &Subject<'_>, nodes: &Snapshot) {
        let Some(neighbours) = self.neighbours.take() else {
            return;
        };
        let view = View {
            profile: subject.profile,
            pod: subject.pod,
            nodes,
            needs: subject.needs,
            neighbours: Some(&neighbours),
            change: None,
        };
        let slots = || (0..nodes.slot_count() as u32).map(Slot);
        for slot in slots() {
            let cell = &self.cells[slot.index()];
            let admitted =
                cell.admitted_alone && !cell.barred && view.refusal(slot, &OF_NEIGHBOURS).is_none();
            self.admit(slot, admitted);
        }
        let admitted: Vec<Slot> = slots().filter(|slot| self.admits(*slot)).collect();
        for slot in &admitted {
            self.cells[slot.index()].social = [0, 0];
        }
        self.score_spread(&neighbours, nodes, &admitted);
        self.score_preference(&neighbours, nodes, &admitted);
        self.neighbours = Some(neighbours);
        self.refresh_largest();
        self.seat_all();
    }

    /// The cheapest node gets the most; the scale is the dearest one's cost.
    fn score_spread(&mut self, neighbours: &Neighbours, nodes: &Snapshot, admitted: &[Slot]) {
        if !neighbours.scores_spread() {
            return;
        }
        let weights = neighbours.spread_weights_over(nodes, admitted.iter().copied());
        let costs: Vec<(Slot, i64)> = admitted
            .iter()
            .filter(|slot| !neighbours.is_ignored(nodes, **slot))
            .map(|slot| (*slot, neighbours.spread_cost(nodes, *slot, &weights)))
            .collect();
        let least = costs.iter().map(|(_, cost)| *cost).min().unwrap_or(0);
        let most = costs
            .iter()
            .map(|(_, cost)| *cost)
            .max()
            .unwrap_or(0)
            .max(0);
        for (slot, cost) in costs {
            let score = match most {
                0 => SCORE_MAX,
                most => SCORE_MAX * (most + least - cost) / most,
            };
            self.cells[slot.index()].social[0] = score;
        }
    }

    /// From the least preferred node, 0, to the most preferred one.
    fn score_preference(&mut self, neighbours: &Neighbours, nodes: &Snapshot, admitted: &[Slot]) {
        let sums: Vec<i64> = admitted
            .iter()
            .map(|slot| neighbours.preference(nodes, *slot))
            .collect();
        let least = sums.iter().copied().min().unwrap_or(0);
        let range = sums.iter().copied().max().unwrap_or(0) - least;
        if range <= 0 {
            return;
        }
        for (slot, sum) in admitted.iter().zip(sums) {
            let share = (sum - least) as f64 / range as f64;
            self.cells[slot.index()].social[1] = (SCORE_MAX as f64 * share) as i64;
        }
    }

    // ───────── the best ─────────

    fn key(&self, slot: usize) -> u64 {
        let cell = &self.cells[slot];
        if !cell.admitted {
            return 0;
        }
        let score = u64::try_from(self.total(cell))
            .unwrap_or(0)
            .min(SCORE_SUM_MAX);
        ((score + 1) << TIE_BITS) | cell.tie
    }

    fn total(&self, cell: &Cell) -> i64 {
        let weights = &self.weights;
        let sum = |scores: &[i64], weights: &[i64]| -> i64 {
            let pairs = scores.iter().zip(weights);
            pairs.map(|(score, weight)| score * weight).sum()
        };
        sum(&self.normalized(cell), &weights.of_static)
            + sum(&cell.dynamic, &weights.of_dynamic)
            + sum(&cell.social, &weights.of_social)
    }

    fn normalized(&self, cell: &Cell) -> [i64; STATIC_COUNT] {
        std::array::from_fn(|index| {
            let normalize = STATIC_SCORERS[index].normalize;
            normalize.apply(cell.raw[index], self.largest[index])
        })
    }

    /// Each plugin's score of an admitted node and its weight, in the table's order.
    pub fn scores(&self, slot: Slot) -> Option<Vec<(&'static str, i64, i64)>> {
        let cell = self.cells.get(slot.index()).filter(|cell| cell.admitted)?;
        let (weights, normalized) = (&self.weights, self.normalized(cell));
        let of_static = STATIC_SCORERS.iter().zip(normalized).zip(weights.of_static);
        let of_dynamic = DYNAMIC_SCORERS
            .iter()
            .zip(cell.dynamic)
            .zip(weights.of_dynamic);
        let of_nodes = of_static
            .chain(of_dynamic)
            .map(|((scorer, score), weight)| (scorer.name, score, weight));
        let social = NEIGHBOUR_SCORERS
            .iter()
            .zip(cell.social)
            .zip(weights.of_social);
        let social = social.map(|(((name, _), score), weight)| (*name, score, weight));
        Some(of_nodes.chain(social).collect())
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
