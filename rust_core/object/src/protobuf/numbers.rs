//! Field numbers to field places, for every definition. Where Go embeds a struct, protobuf nests a message whose fields JSON
//! shows as the outer struct's own.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::facts::{DefinitionId, facts};

/// What a field number of a message stands for.
pub(super) enum Entry {
    Field(u16),
    /// A message whose fields belong to the same struct.
    Embedded(Numbers),
}

#[derive(Default)]
pub(super) struct Numbers(BTreeMap<u32, Entry>);

impl Numbers {
    pub fn get(&self, number: u32) -> Option<&Entry> {
        self.0.get(&number)
    }

    fn add(&mut self, path: &[u32], place: u16) {
        match path {
            [] => {}
            [number] => {
                self.0.insert(*number, Entry::Field(place));
            }
            [number, rest @ ..] => {
                let entry = self
                    .0
                    .entry(*number)
                    .or_insert_with(|| Entry::Embedded(Numbers::default()));
                if let Entry::Embedded(inner) = entry {
                    inner.add(rest, place);
                }
            }
        }
    }
}

pub(super) fn numbers(id: DefinitionId) -> &'static Numbers {
    static NUMBERS: OnceLock<Vec<Numbers>> = OnceLock::new();
    let all = NUMBERS.get_or_init(|| {
        let numbers = facts().definitions.iter().map(|definition| {
            let mut numbers = Numbers::default();
            for (place, field) in (0u16..).zip(&definition.fields) {
                numbers.add(&field.protobuf, place);
            }
            numbers
        });
        numbers.collect()
    });
    &all[id.index()]
}
