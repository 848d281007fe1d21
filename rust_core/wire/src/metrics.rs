//! What the fast path counts, for every request whichever way it was answered. Python renders it under upstream's names.
//!
//! Bound: `SERIES_MAX` series. What comes beyond is counted under verb `OTHER`, so the totals stay right.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::request::Request;

const SERIES_MAX: usize = 4_096;
/// What may be a label beside a served resource; any other word is a stranger's.
const SUBRESOURCES: [&str; 15] = [
    "",
    "status",
    "scale",
    "log",
    "exec",
    "attach",
    "portforward",
    "proxy",
    "binding",
    "eviction",
    "ephemeralcontainers",
    "resize",
    "token",
    "approval",
    "finalize",
];
/// Upper bounds of upstream's request duration histogram, in seconds.
pub const DURATION_BUCKETS_SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

#[derive(Clone, PartialEq, Eq, Hash)]
struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    dry_run: bool,
    code: u16,
}

#[derive(Default)]
struct Series {
    count: u64,
    sum_seconds: f64,
    buckets: [u64; DURATION_BUCKETS_SECONDS.len()],
}

#[derive(Default)]
pub struct Metrics {
    requests: Mutex<HashMap<Labels, Series>>,
    pub in_flight_reading: AtomicI64,
    pub in_flight_mutating: AtomicI64,
    pub watches: AtomicI64,
    pub connections: AtomicI64,
    pub forwards: AtomicI64,
    pub watch_events: AtomicU64,
    pub verdict_hits: AtomicU64,
    pub python_calls: AtomicU64,
    pub rejected: AtomicU64,
    pub slow_readers_cut: AtomicU64,
}

impl Metrics {
    /// `known`: the resource is served, so its name may be a label.
    pub fn count(&self, request: &Request, known: bool, code: u16, took: Duration) {
        let mut labels = labels_of(request, known, code);
        let mut requests = self.requests.lock();
        if requests.len() >= SERIES_MAX && !requests.contains_key(&labels) {
            labels = Labels {
                verb: "OTHER",
                group: String::new(),
                version: String::new(),
                resource: String::new(),
                subresource: String::new(),
                scope: "",
                dry_run: false,
                code,
            };
        }
        let series = requests.entry(labels).or_default();
        let seconds = took.as_secs_f64();
        series.count += 1;
        series.sum_seconds += seconds;
        if let Some(place) = DURATION_BUCKETS_SECONDS
            .iter()
            .position(|bound| seconds <= *bound)
        {
            series.buckets[place] += 1;
        }
    }

    pub fn to_json(&self) -> Value {
        let requests: Vec<Value> = self
            .requests
            .lock()
            .iter()
            .map(|(labels, series)| {
                json!({
                    "verb": labels.verb, "group": labels.group, "version": labels.version, "resource": labels.resource,
                    "subresource": labels.subresource, "scope": labels.scope, "dry_run": if labels.dry_run { "All" } else { "" }, "code": labels.code,
                    "count": series.count, "sum_seconds": series.sum_seconds, "buckets": series.buckets,
                })
            })
            .collect();
        json!({
            "requests": requests,
            "duration_buckets_seconds": DURATION_BUCKETS_SECONDS,
            "in_flight_reading": self.in_flight_reading.load(Ordering::Relaxed),
            "in_flight_mutating": self.in_flight_mutating.load(Ordering::Relaxed),
            "watches": self.watches.load(Ordering::Relaxed),
            "connections": self.connections.load(Ordering::Relaxed),
            "forwards": self.forwards.load(Ordering::Relaxed),
            "watch_events_total": self.watch_events.load(Ordering::Relaxed),
            "verdict_hits_total": self.verdict_hits.load(Ordering::Relaxed),
            "python_calls_total": self.python_calls.load(Ordering::Relaxed),
            "rejected_total": self.rejected.load(Ordering::Relaxed),
            "slow_readers_cut_total": self.slow_readers_cut.load(Ordering::Relaxed),
        })
    }
}

fn labels_of(request: &Request, known: bool, code: u16) -> Labels {
    let info = &request.info;
    let known = known && SUBRESOURCES.contains(&info.subresource.as_str());
    let text = |part: &str| {
        if known {
            part.to_owned()
        } else {
            String::new()
        }
    };
    let scope = match (known, info.namespace.is_empty(), info.name.is_empty()) {
        (false, ..) => "",
        (true, _, false) => "resource",
        (true, false, true) => "namespace",
        (true, true, true) => "cluster",
    };
    Labels {
        verb: reported_verb(request),
        group: text(&info.group),
        version: text(&info.version),
        resource: text(&info.resource),
        subresource: text(&info.subresource),
        scope,
        dry_run: request.query.text("dryRun") == "All",
        code,
    }
}

fn reported_verb(request: &Request) -> &'static str {
    match (request.info.verb.as_str(), request.method.as_str()) {
        ("get", _) => "GET",
        ("list", _) => "LIST",
        ("watch", _) => "WATCH",
        ("deletecollection", _) => "DELETECOLLECTION",
        (_, "POST") => "POST",
        (_, "PUT") => "PUT",
        (_, "PATCH") => "PATCH",
        (_, "DELETE") => "DELETE",
        (_, "HEAD") => "HEAD",
        (_, "OPTIONS") => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Credential;
    use http::{HeaderMap, Method};

    #[test]
    fn requests_are_counted_by_verb_resource_and_code() {
        let metrics = Metrics::default();
        let request = Request::new(
            Method::GET,
            "/api/v1/namespaces/a/pods/x",
            HeaderMap::new(),
            Credential::None,
            String::new(),
        );
        metrics.count(&request, true, 200, Duration::from_millis(1));
        metrics.count(&request, true, 200, Duration::from_millis(30));
        let value = metrics.to_json();
        let row = &value["requests"][0];
        assert_eq!(
            (
                row["verb"].as_str(),
                row["resource"].as_str(),
                row["count"].as_u64()
            ),
            (Some("GET"), Some("pods"), Some(2))
        );
        assert_eq!(
            (row["buckets"][0].as_u64(), row["buckets"][2].as_u64()),
            (Some(1), Some(1))
        );
    }

    #[test]
    fn strangers_cannot_make_series() {
        let metrics = Metrics::default();
        for number in 0..100 {
            let target = format!("/apis/g{number}/v1/things");
            let request = Request::new(
                Method::GET,
                &target,
                HeaderMap::new(),
                Credential::None,
                String::new(),
            );
            metrics.count(&request, false, 404, Duration::ZERO);
            let target = format!("/api/v1/namespaces/a/pods/x/made-up-{number}");
            let request = Request::new(
                Method::GET,
                &target,
                HeaderMap::new(),
                Credential::None,
                String::new(),
            );
            metrics.count(&request, true, 404, Duration::ZERO);
        }
        // Lists of nothing known, and gets of nothing known.
        assert_eq!(metrics.to_json()["requests"].as_array().unwrap().len(), 2);
    }
}
