//! Topology keys as columns: for each node, which domain of the key (zone, rack, host) it is in.
//!
//! A key gets its column when the first pod names it, and keeps it: one number a node. Domains are numbered as they are met; when
//! most numbers of a key are no longer in use, they are given out anew and the generation moves.

use crate::labels::{Labels, lookup};
use crate::snapshot::{Map, Slot};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopologyKey(u32);

impl TopologyKey {
    /// Registered from the start: upstream's default constraints spread over hosts and zones.
    pub const HOSTNAME: TopologyKey = TopologyKey(0);
    pub const ZONE: TopologyKey = TopologyKey(1);
}

const WELL_KNOWN: [&str; 2] = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
const NOWHERE: u32 = u32::MAX;
/// Numbers of domains that are out of use are tolerated up to this many, or as many as there are nodes.
const STALE_DOMAINS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Column {
    numbers: Map<Box<str>, u32>,
    of_slot: Vec<u32>,
}

impl Column {
    fn place(&mut self, slot: Slot, value: Option<&str>) {
        self.of_slot[slot.index()] = match value {
            None => NOWHERE,
            Some(value) => match self.numbers.get(value) {
                Some(number) => *number,
                None => {
                    let number = self.numbers.len() as u32;
                    self.numbers.insert(value.into(), number);
                    number
                }
            },
        };
    }
}

#[derive(Debug)]
pub struct Topologies {
    keys: Map<Box<str>, TopologyKey>,
    names: Vec<Box<str>>,
    columns: Vec<Column>,
    slots: usize,
    /// Moves when numbers were given out anew: sums by domain start over.
    pub generation: u64,
}

impl Default for Topologies {
    fn default() -> Self {
        let mut topologies = Topologies {
            keys: Map::default(),
            names: Vec::new(),
            columns: Vec::new(),
            slots: 0,
            generation: 0,
        };
        for key in WELL_KNOWN {
            topologies.add(key);
        }
        topologies
    }
}

impl Topologies {
    fn add(&mut self, key: &str) -> TopologyKey {
        let id = TopologyKey(self.columns.len() as u32);
        self.keys.insert(key.into(), id);
        self.names.push(key.into());
        self.columns.push(Column {
            numbers: Map::default(),
            of_slot: vec![NOWHERE; self.slots],
        });
        id
    }

    pub fn known(&self, key: &str) -> Option<TopologyKey> {
        self.keys.get(key).copied()
    }

    pub fn name(&self, key: TopologyKey) -> &str {
        &self.names[key.0 as usize]
    }

    /// A key met for the first time: every node is placed in its domain.
    pub fn learn<'a>(
        &mut self,
        key: &str,
        nodes: impl Iterator<Item = (Slot, &'a Labels)>,
    ) -> TopologyKey {
        let id = self.add(key);
        for (slot, labels) in nodes {
            self.columns[id.0 as usize].place(slot, lookup(labels, key));
        }
        id
    }

    pub fn grow(&mut self) {
        self.slots += 1;
        for column in &mut self.columns {
            column.of_slot.push(NOWHERE);
        }
    }

    /// The node says something else about itself, or is gone (no labels).
    pub fn relabel(&mut self, slot: Slot, labels: &Labels) {
        for (key, column) in self.names.iter().zip(&mut self.columns) {
            column.place(slot, lookup(labels, key));
        }
    }

    /// Whether numbers out of use have piled up, so that `renumber` is due.
    pub fn is_stale(&self) -> bool {
        let longest = self.columns.iter().map(|column| column.numbers.len()).max();
        longest.unwrap_or(0) > 2 * self.slots + STALE_DOMAINS_MAX
    }

    pub fn renumber<'a>(&mut self, nodes: impl Iterator<Item = (Slot, &'a Labels)>) {
        for column in &mut self.columns {
            column.numbers.clear();
        }
        for (slot, labels) in nodes {
            self.relabel(slot, labels);
        }
        self.generation += 1;
    }

    pub fn domain(&self, key: TopologyKey, slot: Slot) -> Option<u32> {
        let number = self.columns[key.0 as usize].of_slot[slot.index()];
        (number != NOWHERE).then_some(number)
    }
}
