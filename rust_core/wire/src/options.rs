//! The options of a list or a watch, read from the query and judged as upstream judges them.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions

use std::time::Duration;

use kubecore_object::table::IncludeObject;

use crate::continue_token::ContinueToken;
use crate::request::Query;
use crate::status::Status;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Unset,
    Exact,
    NotOlderThan,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub label_selector: String,
    pub field_selector: String,
    /// None: not given. 0: any.
    pub resource_version: Option<u64>,
    pub resource_version_match: Match,
    /// 0: no limit.
    pub limit: usize,
    pub continue_token: Option<ContinueToken>,
    pub bookmarks: bool,
    pub send_initial_events: Option<bool>,
    pub timeout: Option<Duration>,
    pub include_object: IncludeObject,
}

type Cause = (&'static str, &'static str, String);

/// A clock can be this far ahead; what is beyond, such as the greatest number there is, means the same: for good.
const TIMEOUT_SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;
const FORBIDDEN: &str = "FieldValueForbidden";
const MATCH: &str = "resourceVersionMatch";
const SEND: &str = "sendInitialEvents";

impl Options {
    pub fn parse(query: &Query, watch: bool) -> Result<Self, Status> {
        let causes = if watch {
            judge_watch(query)
        } else {
            judge_list(query)
        };
        if !causes.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "ListOptions", "", &causes));
        }
        let given = query.text("resourceVersion");
        let token = query.text("continue");
        if !token.is_empty() && !matches!(given, "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(Options {
            label_selector: query.text("labelSelector").to_owned(),
            field_selector: query.text("fieldSelector").to_owned(),
            resource_version: resource_version(given)?,
            resource_version_match: match query.text(MATCH) {
                "Exact" => Match::Exact,
                "NotOlderThan" => Match::NotOlderThan,
                _ => Match::Unset,
            },
            limit: usize::try_from(number(query, "limit")?).unwrap_or(0),
            continue_token: (!watch && !token.is_empty())
                .then(|| ContinueToken::decode(token))
                .transpose()?,
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.get(SEND).map(|_| query.flag(SEND)),
            timeout: u64::try_from(number(query, "timeoutSeconds")?)
                .ok()
                .filter(|n| *n > 0)
                .map(|n| Duration::from_secs(n.min(TIMEOUT_SECONDS_MAX))),
            include_object: include_object(query)?,
        })
    }
}

fn resource_version(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || {
        Status::bad_request(format!(
            "invalid resource version: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    };
    // A sign is no digit to upstream's unsigned parser.
    if text.starts_with('+') {
        return Err(invalid());
    }
    text.parse().map(Some).map_err(|_| invalid())
}

fn number(query: &Query, name: &str) -> Result<i64, Status> {
    let text = query.text(name);
    if text.is_empty() {
        return Ok(0);
    }
    let invalid = |_| {
        Status::bad_request(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))
    };
    text.parse().map_err(invalid)
}

fn include_object(query: &Query) -> Result<IncludeObject, Status> {
    match query.text("includeObject") {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        other => Err(Status::bad_request(format!(
            "unrecognized includeObject value: {other:?}"
        ))),
    }
}

fn judge_list(query: &Query) -> Vec<Cause> {
    let mut causes = Vec::new();
    let forbidden = |field, message: &str| (field, FORBIDDEN, format!("Forbidden: {message}"));
    let matching = query.text(MATCH);
    if !matching.is_empty() {
        if query.text("resourceVersion").is_empty() {
            causes.push(forbidden(
                MATCH,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !query.text("continue").is_empty() {
            causes.push(forbidden(
                MATCH,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            causes.push(not_supported(matching, r#""", "Exact", "NotOlderThan""#));
        }
        if matching == "Exact" && query.text("resourceVersion") == "0" {
            causes.push(forbidden(
                MATCH,
                r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#,
            ));
        }
    }
    if query.get(SEND).is_some() {
        causes.push(forbidden(SEND, "sendInitialEvents is forbidden for list"));
    }
    causes
}

fn judge_watch(query: &Query) -> Vec<Cause> {
    let mut causes = Vec::new();
    let forbidden = |field, message: &str| (field, FORBIDDEN, format!("Forbidden: {message}"));
    let matching = query.text(MATCH);
    let sends = query.get(SEND).is_some();
    if sends && matching != "NotOlderThan" {
        causes.push(forbidden(
            MATCH,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if !matching.is_empty() {
        if !sends {
            causes.push(forbidden(
                MATCH,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if matching != "NotOlderThan" {
            causes.push(not_supported(matching, r#""NotOlderThan""#));
        }
        if !query.text("continue").is_empty() {
            causes.push(forbidden(
                MATCH,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
    }
    causes
}

fn not_supported(value: &str, supported: &str) -> Cause {
    (
        MATCH,
        "FieldValueNotSupported",
        format!("Unsupported value: {value:?}: supported values: {supported}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: &str) -> Result<Options, Status> {
        Options::parse(&Query::parse(query), false)
    }

    fn watch(query: &str) -> Result<Options, Status> {
        Options::parse(&Query::parse(query), true)
    }

    #[test]
    fn combinations_that_upstream_forbids_are_invalid() {
        let lists = [
            "resourceVersionMatch=Exact",
            "resourceVersionMatch=Newer&resourceVersion=1",
            "sendInitialEvents=true",
            "resourceVersionMatch=Exact&resourceVersion=0",
        ];
        for query in lists {
            assert_eq!(list(query).unwrap_err().reason, "Invalid", "{query}");
        }
        for query in [
            "sendInitialEvents=true",
            "resourceVersionMatch=NotOlderThan",
            "sendInitialEvents=true&resourceVersionMatch=Exact",
        ] {
            assert_eq!(watch(query).unwrap_err().reason, "Invalid", "{query}");
        }
        let message = list("resourceVersionMatch=Exact").unwrap_err().message;
        assert_eq!(
            message,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        );
    }

    #[test]
    fn what_is_no_number_is_a_bad_request() {
        for query in ["resourceVersion=x", "limit=x", "timeoutSeconds=1s"] {
            assert_eq!(list(query).unwrap_err().code, 400, "{query}");
        }
    }

    #[test]
    fn a_streaming_list_is_understood() {
        let options = watch("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=300").unwrap();
        assert_eq!(options.send_initial_events, Some(true));
        assert!(options.bookmarks);
        assert_eq!(options.timeout, Some(Duration::from_secs(300)));
        assert_eq!(options.resource_version, None);
    }
}
