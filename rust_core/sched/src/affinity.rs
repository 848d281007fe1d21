//! Node selectors: which nodes a pod may or would rather run on.
//!
//! Terms are alternatives; the requirements inside one term all hold. A term that cannot be read (an unknown operator, a bound that is
//! no number) matches nothing, and an empty term matches nothing.

use std::collections::BTreeMap;

use crate::labels::{Labels, Requirement, lookup};
use crate::wire;

/// What selectors look at on a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeIdentity<'a> {
    pub name: &'a str,
    /// Sorted by key.
    pub labels: &'a Labels,
}

impl<'a> NodeIdentity<'a> {
    fn label(&self, key: &str) -> Option<&'a str> {
        lookup(self.labels, key)
    }
}

const NAME_FIELD: &str = "metadata.name";

/// One alternative; `None` inside `readable` when it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Term {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
    readable: bool,
    /// The nodes that `metadata.name In` leaves, if the term asks so.
    names: Option<Vec<String>>,
}

impl Term {
    fn parse(term: &wire::NodeSelectorTerm) -> Option<Term> {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        if expressions.is_empty() && fields.is_empty() {
            return None;
        }
        let labels: Option<Vec<_>> = expressions.iter().map(Requirement::on_label).collect();
        let on_fields: Option<Vec<_>> = fields.iter().map(Requirement::on_field).collect();
        let readable = labels.is_some() && on_fields.is_some();
        Some(Term {
            labels: labels.unwrap_or_default(),
            fields: on_fields.unwrap_or_default(),
            readable,
            names: named_nodes(fields),
        })
    }

    fn matches(&self, node: NodeIdentity<'_>) -> bool {
        self.readable
            && self
                .labels
                .iter()
                .all(|requirement| requirement.holds(node.label(&requirement.key)))
            && self.fields.iter().all(|requirement| {
                // A field that nodes lack reads as empty.
                requirement.holds(Some(if requirement.key == NAME_FIELD {
                    node.name
                } else {
                    ""
                }))
            })
    }
}

/// The intersection of the term's `metadata.name In` lists.
fn named_nodes(fields: &[wire::Expression]) -> Option<Vec<String>> {
    fields
        .iter()
        .filter(|field| field.key == NAME_FIELD && field.operator == "In")
        .map(|field| field.values.clone().unwrap_or_default())
        .reduce(|left, right| {
            left.into_iter()
                .filter(|name| right.contains(name))
                .collect()
        })
}

/// What a pod demands of its node's labels and name: `spec.nodeSelector` and required node affinity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Required {
    selector: BTreeMap<String, String>,
    terms: Option<Vec<Term>>,
    /// Every term names its nodes: no other node is looked at.
    names: Option<Vec<String>>,
}

impl Required {
    pub fn of(spec: &wire::PodSpec) -> Required {
        let selector = spec.node_selector.clone().unwrap_or_default();
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        Required::by(
            selector,
            affinity.and_then(|affinity| affinity.required.as_ref()),
        )
    }

    pub fn by(
        selector: BTreeMap<String, String>,
        required: Option<&wire::NodeSelector>,
    ) -> Required {
        let Some(required) = required else {
            return Required {
                selector,
                terms: None,
                names: None,
            };
        };
        let listed = required.node_selector_terms.as_deref().unwrap_or_default();
        let names = listed
            .iter()
            .map(|term| named_nodes(term.match_fields.as_deref().unwrap_or_default()))
            .collect::<Option<Vec<_>>>()
            .filter(|lists| !lists.is_empty())
            .map(|lists| {
                let mut names: Vec<String> = lists.into_iter().flatten().collect();
                names.sort_unstable();
                names.dedup();
                names
            });
        Required {
            selector,
            terms: Some(listed.iter().filter_map(Term::parse).collect()),
            names,
        }
    }

    /// Each term asks for different names at once: no node can ever match.
    pub fn conflicts(&self) -> bool {
        self.names.as_ref().is_some_and(Vec::is_empty)
    }

    /// False for a node that the pod's affinity to named nodes leaves out before any filter runs.
    pub fn names_node(&self, name: &str) -> bool {
        self.names
            .as_ref()
            .is_none_or(|names| names.iter().any(|each| each == name))
    }

    pub fn matches(&self, node: NodeIdentity<'_>) -> bool {
        self.selector
            .iter()
            .all(|(key, value)| node.label(key) == Some(value))
            && self
                .terms
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
    }
}

/// What a pod would rather have: weighted terms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Preferred(Vec<(i64, Term)>);

impl Preferred {
    pub fn of(spec: &wire::PodSpec) -> Preferred {
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        let terms = affinity
            .and_then(|affinity| affinity.preferred.as_deref())
            .unwrap_or_default();
        Preferred(
            terms
                .iter()
                .filter(|term| term.weight != 0)
                .filter_map(|term| Some((term.weight, Term::parse(&term.preference)?)))
                .collect(),
        )
    }

    /// The sum of the weights of the terms that match.
    pub fn weight(&self, node: NodeIdentity<'_>) -> i64 {
        self.0
            .iter()
            .filter(|(_, term)| term.matches(node))
            .map(|(weight, _)| weight)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(text: &str) -> Required {
        Required::of(&serde_json::from_str(text).expect("a pod spec"))
    }

    fn matches(expression: &str, labels: &[(&str, &str)]) -> bool {
        let spec = format!(
            r#"{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":
                {{"nodeSelectorTerms":[{{"matchExpressions":[{expression}]}}]}}}}}}}}"#
        );
        let labels: Vec<(Box<str>, Box<str>)> = labels
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        required(&spec).matches(NodeIdentity {
            name: "n",
            labels: &labels,
        })
    }

    #[test]
    fn every_operator_accepts_and_refuses() {
        let node = [("disk", "ssd"), ("generation", "7")];
        for (expression, expected) in [
            (
                r#"{"key":"disk","operator":"In","values":["ssd","nvme"]}"#,
                true,
            ),
            (r#"{"key":"disk","operator":"In","values":["hdd"]}"#, false),
            (
                r#"{"key":"disk","operator":"NotIn","values":["ssd"]}"#,
                false,
            ),
            (
                r#"{"key":"absent","operator":"NotIn","values":["ssd"]}"#,
                true,
            ),
            (r#"{"key":"disk","operator":"Exists"}"#, true),
            (r#"{"key":"absent","operator":"Exists"}"#, false),
            (r#"{"key":"absent","operator":"DoesNotExist"}"#, true),
            (r#"{"key":"disk","operator":"DoesNotExist"}"#, false),
            (
                r#"{"key":"generation","operator":"Gt","values":["6"]}"#,
                true,
            ),
            (
                r#"{"key":"generation","operator":"Gt","values":["7"]}"#,
                false,
            ),
            (
                r#"{"key":"generation","operator":"Lt","values":["8"]}"#,
                true,
            ),
            (r#"{"key":"disk","operator":"Lt","values":["8"]}"#, false),
            (r#"{"key":"disk","operator":"Sideways"}"#, false),
            (
                r#"{"key":"generation","operator":"Gt","values":["many"]}"#,
                false,
            ),
        ] {
            assert_eq!(matches(expression, &node), expected, "{expression}");
        }
    }

    #[test]
    fn terms_are_alternatives_and_an_empty_term_matches_nothing() {
        let spec = |terms: &str| {
            format!(
                r#"{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":{terms}}}}}}}}}"#
            )
        };
        let node = NodeIdentity {
            name: "n",
            labels: &[],
        };
        assert!(!required(&spec("[]")).matches(node));
        assert!(!required(&spec("[{}]")).matches(node));
        assert!(
            required(&spec(
                r#"[{},{"matchExpressions":[{"key":"a","operator":"DoesNotExist"}]}]"#
            ))
            .matches(node)
        );
    }

    #[test]
    fn a_term_may_name_its_node_and_two_names_at_once_conflict() {
        let spec = |fields: &str| {
            format!(
                r#"{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{{"matchFields":{fields}}}]}}}}}}}}"#
            )
        };
        let one = required(&spec(
            r#"[{"key":"metadata.name","operator":"In","values":["n"]}]"#,
        ));
        assert!(one.names_node("n") && !one.names_node("m"));
        assert!(one.matches(NodeIdentity {
            name: "n",
            labels: &[]
        }));
        assert!(!one.matches(NodeIdentity {
            name: "m",
            labels: &[]
        }));
        let two = required(&spec(
            r#"[{"key":"metadata.name","operator":"In","values":["n"]},{"key":"metadata.name","operator":"In","values":["m"]}]"#,
        ));
        assert!(two.conflicts());
        let not = required(&spec(
            r#"[{"key":"metadata.name","operator":"NotIn","values":["n"]}]"#,
        ));
        assert!(
            !not.conflicts()
                && !not.matches(NodeIdentity {
                    name: "n",
                    labels: &[]
                })
        );
    }

    #[test]
    fn preferred_terms_add_their_weights() {
        let spec: wire::PodSpec = serde_json::from_str(
            r#"{"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
                {"weight":30,"preference":{"matchExpressions":[{"key":"a","operator":"Exists"}]}},
                {"weight":5,"preference":{"matchExpressions":[{"key":"b","operator":"Exists"}]}},
                {"weight":7,"preference":{}}]}}}"#,
        )
        .expect("a pod spec");
        let labels = [("a".into(), "".into()), ("b".into(), "".into())];
        assert_eq!(
            Preferred::of(&spec).weight(NodeIdentity {
                name: "n",
                labels: &labels
            }),
            35
        );
        assert_eq!(
            Preferred::of(&spec).weight(NodeIdentity {
                name: "n",
                labels: &labels[..1]
            }),
            30
        );
    }
}
