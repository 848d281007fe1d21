//! What would become of a pod, and why, plugin by plugin and node by node. Nothing is changed by asking.

use std::sync::Arc;

use super::decide::{Loser, promised_room};
use super::{Kernel, SchedError, importance_of, key_of, owner_of, parse_pod};
use crate::class::{ClassState, Subject};
use crate::failure::{Failure, Preemption, refusal};
use crate::plugins::{FILTERS, View};

/// Each plugin's score, 0 to 100, and its weight.
pub type Scores = Vec<(&'static str, i64, i64)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where it would go now.
    pub node: Option<Arc<str>>,
    /// Why not elsewhere: all that refused nodes, even if one is found.
    pub failure: Failure,
    /// Every node, in the kernel's order.
    pub nodes: Vec<NodeVerdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeVerdict {
    pub node: Arc<str>,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Scored(Scores),
    Refused {
        plugin: &'static str,
        reasons: Vec<String>,
    },
}

impl Kernel {
    /// Of a pod that is given encoded and need not be known. Looks at every node afresh.
    pub fn explain(&mut self, body: &[u8]) -> Result<Explanation, SchedError> {
        let pod = parse_pod(body)?;
        let key = key_of(&pod.metadata);
        let (requirements, kind) = self.read(&pod);
        let kind = Arc::new(kind);
        let importance = importance_of(&pod);
        let own_node = self.pods.find(&key).and_then(|record| record.promised);
        let defaults = self.defaults(&requirements, &kind, owner_of(&pod).as_ref());
        let needs = self.needs(&requirements);
        let undecided = self.undecided(&requirements);
        let mut promised = promised_room(&self.pods, &key, importance.priority);
        let profile = &self.profiles[requirements.profile];
        let subject = Subject {
            profile,
            pod: &requirements,
            kind: &kind,
            needs: needs.as_ref(),
            involved: self.is_involved(&requirements, &kind, defaults.as_ref()),
            defaults: defaults.as_ref(),
            promised: &promised,
        };
        let mut state = ClassState::default();
        let best = state.best(&subject, &self.nodes, self.seed);
        let best = best.map(|best| own_node.filter(|slot| state.admits(*slot)).unwrap_or(best));
        let loser = Loser {
            needs: needs.as_ref(),
            profile,
            pod: &requirements,
            importance,
            promised: own_node,
        };
        let neighbours = state.neighbours();
        let mut failure = loser.why(
            self.seed,
            &self.nodes,
            &self.pods,
            &self.budgets,
            neighbours,
            &mut promised,
        );
        if best.is_some() {
            failure.preemption = Preemption::NotConsidered;
        }
        let is_decided = undecided.is_empty();
        failure.undecided = undecided;
        let view = View {
            profile,
            pod: &requirements,
            nodes: &self.nodes,
            needs: needs.as_ref(),
            neighbours,
            change: None,
        };
        let verdict = |slot| match refusal(&view, &promised, slot) {
            None => Verdict::Scored(state.scores(slot).unwrap_or_default()),
            Some((index, view)) => Verdict::Refused {
                plugin: FILTERS[index].name,
                reasons: (FILTERS[index].reasons)(&view, slot)
                    .into_iter()
                    .map(|reason| reason.text(&self.nodes))
                    .collect(),
            },
        };
        let nodes = self.nodes.present().map(|slot| NodeVerdict {
            node: self.nodes.name(slot).clone(),
            verdict: verdict(slot),
        });
        Ok(Explanation {
            nodes: nodes.collect(),
            node: best
                .filter(|_| is_decided)
                .map(|slot| self.nodes.name(slot).clone()),
            failure,
        })
    }
}
