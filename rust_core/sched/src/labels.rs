//! Labels, and selectors over them: the words that nodes, pods and namespaces are found by.

use std::collections::BTreeMap;

use crate::wire;

/// Sorted by key.
pub type Labels = [(Box<str>, Box<str>)];

pub fn lookup<'a>(labels: &'a Labels, key: &str) -> Option<&'a str> {
    let index = labels
        .binary_search_by(|(each, _)| each.as_ref().cmp(key))
        .ok()?;
    Some(&labels[index].1)
}

pub fn sorted(labels: Option<&BTreeMap<String, String>>) -> Box<Labels> {
    let each = labels.into_iter().flatten();
    each.map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect()
}

/// Which label sets are meant. All its requirements hold at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelSelector {
    /// No selector was given, or one that cannot be read.
    Nothing,
    /// Empty: everything.
    All(Vec<Requirement>),
}

impl LabelSelector {
    pub fn of(selector: Option<&wire::LabelSelector>) -> LabelSelector {
        let Some(selector) = selector else {
            return LabelSelector::Nothing;
        };
        let equal = selector.match_labels.iter().flatten();
        let expressions = selector.match_expressions.iter().flatten();
        let read: Option<Vec<_>> = equal
            .map(|(key, value)| Some(Requirement::equals(key, value)))
            .chain(expressions.map(Requirement::on_label))
            .collect();
        read.map_or(LabelSelector::Nothing, |mut requirements| {
            requirements.sort();
            requirements.dedup();
            LabelSelector::All(requirements)
        })
    }

    /// The same, and these as well. Nothing stays nothing.
    pub fn and(self, more: impl IntoIterator<Item = Requirement>) -> LabelSelector {
        match self {
            LabelSelector::Nothing => LabelSelector::Nothing,
            LabelSelector::All(mut requirements) => {
                requirements.extend(more);
                requirements.sort();
                requirements.dedup();
                LabelSelector::All(requirements)
            }
        }
    }

    /// Selects everything.
    pub fn is_empty(&self) -> bool {
        matches!(self, LabelSelector::All(requirements) if requirements.is_empty())
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        match self {
            LabelSelector::Nothing => false,
            LabelSelector::All(requirements) => requirements
                .iter()
                .all(|requirement| requirement.holds(lookup(labels, &requirement.key))),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    Greater(i64),
    Less(i64),
}

/// One expression over one label or field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    pub key: String,
    operator: Operator,
}

impl Requirement {
    pub fn equals(key: &str, value: &str) -> Requirement {
        Requirement {
            key: key.to_owned(),
            operator: Operator::In(vec![value.to_owned()]),
        }
    }

    pub fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|text| text.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => {
                value.is_some_and(|value| values.iter().any(|each| each == value))
            }
            Operator::NotIn(values) => {
                value.is_none_or(|value| values.iter().all(|each| each != value))
            }
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Greater(bound) => number().is_some_and(|number| number > *bound),
            Operator::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }

    pub fn on_label(expression: &wire::Expression) -> Option<Requirement> {
        let values = expression.values.clone().unwrap_or_default();
        let bound = || match values.as_slice() {
            [bound] => bound.parse::<i64>().ok(),
            _ => None,
        };
        let operator = match expression.operator.as_str() {
            "In" if !values.is_empty() => Operator::In(values),
            "NotIn" if !values.is_empty() => Operator::NotIn(values),
            "Exists" if values.is_empty() => Operator::Exists,
            "DoesNotExist" if values.is_empty() => Operator::DoesNotExist,
            "Gt" => Operator::Greater(bound()?),
            "Lt" => Operator::Less(bound()?),
            _ => return None,
        };
        Some(Requirement {
            key: expression.key.clone(),
            operator,
        })
    }

    /// Fields compare with exactly one value.
    pub fn on_field(expression: &wire::Expression) -> Option<Requirement> {
        let values = expression
            .values
            .clone()
            .filter(|values| values.len() == 1)?;
        let operator = match expression.operator.as_str() {
            "In" => Operator::In(values),
            "NotIn" => Operator::NotIn(values),
            _ => return None,
        };
        Some(Requirement {
            key: expression.key.clone(),
            operator,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> LabelSelector {
        LabelSelector::of(
            serde_json::from_str::<Option<wire::LabelSelector>>(text)
                .expect("a selector")
                .as_ref(),
        )
    }

    #[test]
    fn no_selector_selects_nothing_and_an_empty_one_everything() {
        let labels = sorted(Some(&BTreeMap::from([("a".to_owned(), "1".to_owned())])));
        assert!(!selector("null").matches(&labels));
        assert!(selector("{}").matches(&labels) && selector("{}").is_empty());
    }

    #[test]
    fn labels_and_expressions_all_hold_at_once() {
        let labels = sorted(Some(&BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "2".to_owned()),
        ])));
        for (text, expected) in [
            (r#"{"matchLabels":{"a":"1"}}"#, true),
            (r#"{"matchLabels":{"a":"1","b":"1"}}"#, false),
            (
                r#"{"matchLabels":{"a":"1"},"matchExpressions":[{"key":"c","operator":"Exists"}]}"#,
                false,
            ),
            (
                r#"{"matchExpressions":[{"key":"c","operator":"NotIn","values":["1"]}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions":[{"key":"b","operator":"In","values":["1","2"]}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions":[{"key":"b","operator":"Sideways"}]}"#,
                false,
            ),
        ] {
            assert_eq!(selector(text).matches(&labels), expected, "{text}");
        }
    }
}
