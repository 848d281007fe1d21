//! Which form of an object a client wants: plain JSON, a Table, or metadata only; and whether we can give it.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources

use crate::status::Status;

/// What the wire can make of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    None,
    /// `meta.k8s.io/v1` or `v1beta1`.
    Table(&'static str),
    PartialMetadata(&'static str),
}

impl Transform {
    /// The Content-Type of an answer in this form.
    pub fn content_type(self) -> &'static str {
        "application/json"
    }
}

const ACCEPTED: [&str; 1] = ["application/json"];
const ACCEPTED_STREAM: [&str; 1] = ["application/json;stream=watch"];

struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or("");
        let mut clause = Clause {
            media_type,
            parameters: Vec::new(),
            quality: 1.0,
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim() {
                "q" => clause.quality = value.trim().parse().unwrap_or(0.0),
                name => clause
                    .parameters
                    .push((name, value.trim().trim_matches('"'))),
            }
        }
        clause
    }

    fn parameter(&self, name: &str) -> &'a str {
        self.parameters
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
            .unwrap_or("")
    }

    /// The transform it asks for; None if we cannot give it.
    fn transform(&self) -> Option<Transform> {
        if !matches!(
            self.media_type,
            "application/json" | "application/*" | "*/*"
        ) {
            return None;
        }
        let kind = self.parameter("as");
        if kind.is_empty() {
            return Some(Transform::None);
        }
        let version = match (self.parameter("g"), self.parameter("v")) {
            ("meta.k8s.io", "v1") => "v1",
            ("meta.k8s.io", "v1beta1") => "v1beta1",
            _ => return None,
        };
        match kind {
            "Table" => Some(Transform::Table(version)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => {
                Some(Transform::PartialMetadata(version))
            }
            _ => None,
        }
    }
}

/// The first form, in the client's order of preference, that we can give. No Accept header means JSON.
pub fn negotiate(accept: Option<&str>, stream: bool) -> Result<Transform, Status> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else {
        return Ok(Transform::None);
    };
    let mut clauses: Vec<Clause> = accept
        .split(',')
        .map(Clause::parse)
        .filter(|clause| clause.quality > 0.0)
        .collect();
    // Stable: equal quality keeps the client's order.
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    let accepted: &[&str] = if stream { &ACCEPTED_STREAM } else { &ACCEPTED };
    clauses
        .iter()
        .find_map(Clause::transform)
        .ok_or_else(|| Status::not_acceptable(accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

    #[test]
    fn the_clients_own_headers_are_understood() {
        let kubectl =
            format!("{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json");
        let informer =
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let table = [
            ("", Transform::None),
            ("application/json", Transform::None),
            ("*/*", Transform::None),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Transform::None,
            ),
            (kubectl.as_str(), Transform::Table("v1")),
            (informer, Transform::PartialMetadata("v1")),
            (
                "application/json;q=0.1, application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9",
                Transform::Table("v1"),
            ),
            (
                "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
                Transform::None,
            ),
            ("application/json;stream=watch", Transform::None),
        ];
        for (accept, expected) in table {
            assert_eq!(
                negotiate(Some(accept), false).unwrap(),
                expected,
                "{accept}"
            );
        }
    }

    #[test]
    fn only_protobuf_is_not_acceptable_yet() {
        let status = negotiate(Some("application/vnd.kubernetes.protobuf"), false).unwrap_err();
        assert_eq!((status.code, status.reason), (406, "NotAcceptable"));
    }
}
