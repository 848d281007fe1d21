//! Taints keep pods off nodes; tolerations let them on again.

use crate::wire::{Taint, Toleration};

const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";
const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// A cordoned node is one that bears this taint, whether or not it has been written yet.
pub fn cordon() -> Taint {
    Taint {
        key: UNSCHEDULABLE.to_owned(),
        value: None,
        effect: NO_SCHEDULE.to_owned(),
    }
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match text(&toleration.operator) {
        "" | "Equal" => text(&toleration.value) == text(&taint.value),
        // Lt and Gt are an alpha feature, off in 1.35.
        operator => operator == "Exists",
    }
}

pub fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations
        .iter()
        .any(|toleration| tolerates(toleration, taint))
}

/// Whether a taint forbids the pod.
pub fn forbids(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    taints.iter().any(|taint| {
        matches!(taint.effect.as_str(), NO_SCHEDULE | NO_EXECUTE) && !tolerated(taint, tolerations)
    })
}

/// How many taints ask the pod to stay away without forbidding it.
pub fn discouraging(taints: &[Taint], tolerations: &[Toleration]) -> i64 {
    taints
        .iter()
        .filter(|taint| taint.effect == PREFER_NO_SCHEDULE && !tolerated(taint, tolerations))
        .count() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
        }
    }

    fn toleration(text: &str) -> Toleration {
        serde_json::from_str(text).expect("a toleration")
    }

    #[test]
    fn a_toleration_matches_by_key_value_and_effect() {
        let dedicated = taint("dedicated", "gpu", NO_SCHEDULE);
        for (text, expected) in [
            (
                r#"{"key":"dedicated","operator":"Equal","value":"gpu","effect":"NoSchedule"}"#,
                true,
            ),
            (r#"{"key":"dedicated","value":"gpu"}"#, true),
            (r#"{"key":"dedicated","value":"cpu"}"#, false),
            (r#"{"key":"dedicated","operator":"Exists"}"#, true),
            (r#"{"operator":"Exists"}"#, true),
            (r#"{"operator":"Exists","effect":"NoExecute"}"#, false),
            (r#"{"key":"other","operator":"Exists"}"#, false),
            (r#"{"key":"dedicated","operator":"Gt","value":"1"}"#, false),
        ] {
            assert_eq!(
                tolerated(&dedicated, &[toleration(text)]),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn only_hard_effects_forbid_and_only_the_soft_one_discourages() {
        let taints = [
            taint("a", "", PREFER_NO_SCHEDULE),
            taint("b", "", PREFER_NO_SCHEDULE),
        ];
        assert!(!forbids(&taints, &[]));
        assert_eq!(
            discouraging(&taints, &[toleration(r#"{"key":"a","operator":"Exists"}"#)]),
            1
        );
        assert!(forbids(&[taint("a", "", NO_EXECUTE)], &[]));
    }
}
