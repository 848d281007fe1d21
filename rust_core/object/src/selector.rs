//! Label selectors: upstream's string syntax and LabelSelector objects, matched against encoded objects.
//!
//! In: a selector as text or JSON. Out: requirements that are all matched by scanning `metadata.labels`, without allocation.

use std::fmt;

use serde_json::Value;

use crate::scan;
use crate::selector_parse;
use crate::selector_validation::{label_key_errors, label_value_errors};

/// Why a selector is refused, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// How a requirement compares a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// A conjunction of requirements; without any, it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Requirement {
    /// Checks what upstream checks: the key, each value, and that the operator has as many values as it needs.
    pub fn new(
        key: &str,
        operator: Operator,
        values: Vec<String>,
    ) -> Result<Requirement, SelectorError> {
        let mut errors = Vec::new();
        let mut invalid = |path: &str, value: &dyn fmt::Display, detail: &str| {
            errors.push(format!("{path}: Invalid value: {value}: {detail}"))
        };
        let key_errors = label_key_errors(key);
        if !key_errors.is_empty() {
            invalid("key", &format!("{key:?}"), &key_errors.join("; "));
        }
        let listed = Value::from(values.clone());
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                invalid(
                    "values",
                    &listed,
                    "for 'in', 'notin' operators, values set can't be empty",
                );
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if values.len() != 1 =>
            {
                invalid(
                    "values",
                    &listed,
                    "exact-match compatibility requires one single value",
                );
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                invalid(
                    "values",
                    &listed,
                    "values set must be empty for exists and does not exist",
                );
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    invalid(
                        "values",
                        &listed,
                        "for 'Gt', 'Lt' operators, exactly one value is required",
                    );
                }
                for (index, value) in values
                    .iter()
                    .enumerate()
                    .filter(|(_, value)| value.parse::<i64>().is_err())
                {
                    let path = format!("values[{index}]");
                    invalid(
                        &path,
                        &format!("{value:?}"),
                        "for 'Gt', 'Lt' operators, the value must be an integer",
                    );
                }
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            let value_errors = label_value_errors(value);
            if !value_errors.is_empty() {
                invalid(
                    &format!("values[{index}][{key}]"),
                    &format!("{value:?}"),
                    &value_errors.join("; "),
                );
            }
        }
        match errors.as_slice() {
            [] => Ok(Requirement {
                key: key.to_owned(),
                operator,
                values,
            }),
            [error] => Err(SelectorError(error.clone())),
            _ => Err(SelectorError(format!("[{}]", errors.join(", ")))),
        }
    }

    /// Whether a label of this value (`None`: no such label) satisfies the requirement.
    fn accepts(&self, label: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let number = |text: &str| text.parse::<i64>().ok();
                let bound = self.values.first().and_then(|value| number(value));
                match (label.and_then(number), bound) {
                    (Some(value), Some(bound)) if self.operator == Operator::GreaterThan => {
                        value > bound
                    }
                    (Some(value), Some(bound)) => value < bound,
                    _ => false,
                }
            }
        }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn operator(&self) -> Operator {
        self.operator
    }

    pub fn values(&self) -> &[String] {
        &self.values
    }
}

impl Selector {
    /// Parses `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`. The empty string matches everything.
    pub fn parse(selector: &str) -> Result<Selector, SelectorError> {
        let mut requirements = selector_parse::parse(selector)?;
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(Selector { requirements })
    }

    /// Reads a LabelSelector: `matchLabels` and `matchExpressions`. An empty one matches everything; the caller decides what an
    /// absent one means (upstream: nothing).
    pub fn from_object(selector: &Value) -> Result<Selector, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            requirements.push(Requirement::new(
                key,
                Operator::Equals,
                vec![value.as_str().unwrap_or_default().to_owned()],
            )?);
        }
        for expression in selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!(
                        "{other:?} is not a valid label selector operator"
                    )));
                }
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values
                .map(|value| value.as_str().unwrap_or_default().to_owned())
                .collect();
            requirements.push(Requirement::new(
                expression["key"].as_str().unwrap_or_default(),
                operator,
                values,
            )?);
        }
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(Selector { requirements })
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an encoded object's labels match.
    pub fn matches(&self, object: &[u8]) -> bool {
        self.requirements.is_empty()
            || self.matches_encoded_labels(scan::labels(object).unwrap_or_default())
    }

    /// Whether labels match that are an encoded JSON object (empty bytes: no labels).
    pub fn matches_encoded_labels(&self, labels: &[u8]) -> bool {
        self.requirements.iter().all(|requirement| {
            let label = scan::member(labels, &requirement.key).and_then(scan::text);
            requirement.accepts(label.as_deref())
        })
    }

    /// Whether labels match that something else can look up.
    pub fn matches_labels<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.accepts(lookup(&requirement.key)))
    }
}

impl fmt::Display for Selector {
    /// Upstream's normal form: sorted by key, values sorted.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let mut sorted = requirement.values.clone();
            sorted.sort();
            let (key, values) = (&requirement.key, sorted.join(","));
            match requirement.operator {
                Operator::In => write!(formatter, "{comma}{key} in ({values})"),
                Operator::NotIn => write!(formatter, "{comma}{key} notin ({values})"),
                Operator::Equals => write!(formatter, "{comma}{key}={values}"),
                Operator::DoubleEquals => write!(formatter, "{comma}{key}=={values}"),
                Operator::NotEquals => write!(formatter, "{comma}{key}!={values}"),
                Operator::GreaterThan => write!(formatter, "{comma}{key}>{values}"),
                Operator::LessThan => write!(formatter, "{comma}{key}<{values}"),
                Operator::Exists => write!(formatter, "{comma}{key}"),
                Operator::DoesNotExist => write!(formatter, "{comma}!{key}"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(labels: &Value) -> Vec<u8> {
        json!({"kind": "Pod", "metadata": {"name": "a", "labels": labels}})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_selector_matches_the_labels_it_names() {
        let object = pod(&json!({"app": "web", "tier": "front", "rank": "7", "example.com/x": ""}));
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=db", false),
            ("app!=db,missing!=x", true),
            ("app!=web", false),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("missing notin (a)", true),
            ("app,!missing", true),
            ("missing", false),
            ("!app", false),
            ("rank>5,rank<8", true),
            ("rank>7", false),
            ("app>1", false),
            ("example.com/x=", true),
            ("example.com/x", true),
            ("app in (,)", false),
            ("example.com/x in (a,)", true),
            (" app = web , tier ", true),
            ("in in (in)", false),
        ] {
            assert_eq!(
                Selector::parse(selector).unwrap().matches(&object),
                expected,
                "{selector}"
            );
        }
    }

    #[test]
    fn an_object_without_labels_matches_only_absence() {
        let object = br#"{"kind":"Pod","metadata":{"name":"a"}}"#;
        assert!(Selector::parse("!a,b!=c").unwrap().matches(object));
        assert!(!Selector::parse("a").unwrap().matches(object));
    }

    #[test]
    fn a_bad_selector_is_refused_in_upstreams_words() {
        for (selector, message) in [
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a,", "found '', expected: identifier after ','"),
            (
                ",a",
                "found ',', expected: !, identifier, or 'end of string'",
            ),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "a in b",
                "unable to parse requirement: found 'b' expected: '('",
            ),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            (
                "a in (=",
                "unable to parse requirement: found '=', expected: ',', ')' or identifier",
            ),
            (
                "a=!",
                "unable to parse requirement: found '!', expected: identifier",
            ),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            (
                "a=-b",
                "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            (
                "-a",
                "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
        ] {
            assert_eq!(
                Selector::parse(selector).unwrap_err().to_string(),
                message,
                "{selector}"
            );
        }
    }

    #[test]
    fn a_label_selector_object_means_the_same() {
        let selector = Selector::from_object(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "x", "operator": "DoesNotExist"}
            ]
        }))
        .unwrap();
        assert_eq!(selector.to_string(), "app=web,tier in (back,front),!x");
        assert!(selector.matches(&pod(&json!({"app": "web", "tier": "back"}))));
        assert!(!selector.matches(&pod(&json!({"app": "web", "tier": "back", "x": ""}))));
        let error =
            Selector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "Gt"}]}))
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"Gt\" is not a valid label selector operator"
        );
        let error =
            Selector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]}))
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
        );
    }

    #[test]
    fn a_selector_is_written_in_its_normal_form() {
        assert_eq!(
            Selector::parse("z, a in (y,x), !b, c != d, e>1")
                .unwrap()
                .to_string(),
            "a in (x,y),!b,c!=d,e>1,z"
        );
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_its_normal_form_is_stable(selector in "[a-c!=<>() ,]{0,20}|.{0,10}") {
            if let Ok(parsed) = Selector::parse(&selector) {
                proptest::prop_assert_eq!(Selector::parse(&parsed.to_string()).unwrap(), parsed);
            }
        }
    }
}
