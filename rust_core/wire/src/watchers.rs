//! Who watches what, right now: how many watches of each resource each kind of client has.
//!
//! Bound: `PAIRS_MAX` pairs of resource and watcher. What comes beyond is counted under the watcher `others`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::request::{Credential, Request};

const PAIRS_MAX: usize = 2_048;
const NAME_CHARACTERS_MAX: usize = 64;
const OTHERS: &str = "others";

type Counts = HashMap<(String, String), u64>;

#[derive(Default)]
pub struct Watchers(Arc<Mutex<Counts>>);

/// One running watch; counted until it is dropped.
pub struct Watching {
    counts: Arc<Mutex<Counts>>,
    pair: (String, String),
}

impl Watchers {
    pub fn begin(&self, request: &Request) -> Watching {
        let info = &request.info;
        let resource = if info.group.is_empty() {
            info.resource.clone()
        } else {
            format!("{}.{}", info.resource, info.group)
        };
        let mut counts = self.0.lock();
        let mut pair = (resource, name_of(request));
        if counts.len() >= PAIRS_MAX && !counts.contains_key(&pair) {
            pair.1 = OTHERS.to_owned();
        }
        *counts.entry(pair.clone()).or_default() += 1;
        drop(counts);
        Watching {
            counts: self.0.clone(),
            pair,
        }
    }

    /// `[{resource, watcher, count}]`, in order.
    pub fn to_json(&self) -> Value {
        let mut rows: Vec<_> = {
            let counts = self.0.lock();
            counts
                .iter()
                .map(|(pair, count)| (pair.clone(), *count))
                .collect()
        };
        rows.sort();
        rows.into_iter()
            .map(|((resource, watcher), count)| json!({"resource": resource, "watcher": watcher, "count": count}))
            .collect()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.pair) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.pair);
            }
        }
    }
}

/// A part of this process by its identity, anybody else by the product in its User-Agent.
fn name_of(request: &Request) -> String {
    let name = match &request.credential {
        Credential::Local(identity) => String::from_utf8_lossy(identity).into_owned(),
        _ => request
            .header("user-agent")
            .and_then(|agent| agent.split(['/', ' ']).next())
            .unwrap_or_default()
            .to_owned(),
    };
    if name.is_empty() {
        return "unknown".to_owned();
    }
    name.chars().take(NAME_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method};

    fn watch(target: &str, agent: &str, credential: Credential) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_str(agent).unwrap());
        Request::new(Method::GET, target, headers, credential, String::new())
    }

    #[test]
    fn a_watch_is_counted_under_its_clients_name_until_it_ends() {
        let watchers = Watchers::default();
        let scheduler = Credential::Local(Bytes::from_static(b"system:kube-scheduler"));
        let pods = watch("/api/v1/pods?watch=1", "", scheduler);
        let sets = watch(
            "/apis/apps/v1/replicasets?watch=1",
            "kubectl/v1.33 (linux)",
            Credential::None,
        );
        let first = watchers.begin(&pods);
        let second = watchers.begin(&sets);
        let third = watchers.begin(&sets);
        assert_eq!(
            watchers.to_json(),
            json!([
                {"resource": "pods", "watcher": "system:kube-scheduler", "count": 1},
                {"resource": "replicasets.apps", "watcher": "kubectl", "count": 2},
            ])
        );
        drop((first, second, third));
        assert_eq!(watchers.to_json(), json!([]));
    }

    #[test]
    fn strangers_cannot_make_rows_without_end() {
        let watchers = Watchers::default();
        let running: Vec<_> = (0..PAIRS_MAX + 10)
            .map(|number| {
                let agent = format!("client{number}");
                watchers.begin(&watch("/api/v1/pods?watch=1", &agent, Credential::None))
            })
            .collect();
        assert_eq!(watchers.to_json().as_array().unwrap().len(), PAIRS_MAX + 1);
        drop(running);
    }
}
