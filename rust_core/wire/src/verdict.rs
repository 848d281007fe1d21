//! The verdict cache: what Python has allowed, each verdict as wide as the rule that decided, good for one policy epoch.
//!
//! Flows in: `Allow` from Python. Flows out: whether the wire may serve a read without asking. A verdict remembers the epoch that was
//! current before it was computed; when the store's epoch has moved it no longer counts, so a deleted RoleBinding is felt by the next
//! request. Only permissions are kept: a refusal always comes from Python.
//!
//! Bound: `VERDICTS_MAX` verdicts. At the bound the cache is emptied, which costs each (credential, rule) one question.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::request::{Credential, Request};

pub const VERDICTS_MAX: usize = 65_536;

/// What Python said to a read: serve it.
#[derive(Clone, Debug)]
pub struct Allow {
    /// The policy epoch read before the verdict was computed.
    pub epoch: u64,
    pub user: String,
    /// It holds whatever the name is.
    pub any_name: bool,
    pub any_namespace: bool,
    /// None: as long as the epoch.
    pub ttl: Option<Duration>,
}

struct Verdict {
    epoch: u64,
    expires: Option<Instant>,
}

#[derive(Default)]
struct Verdicts {
    by_credential: HashMap<Credential, HashMap<Vec<u8>, Verdict>>,
    count: usize,
}

#[derive(Default)]
pub struct VerdictCache {
    verdicts: RwLock<Verdicts>,
}

impl VerdictCache {
    /// True if this request is known to be allowed under `epoch`.
    pub fn allows(&self, request: &Request, epoch: u64) -> bool {
        if request.impersonates() {
            return false;
        }
        let verdicts = self.verdicts.read();
        let Some(known) = verdicts.by_credential.get(&request.credential) else {
            return false;
        };
        let holds = |any_namespace, any_name| {
            known
                .get(&key(request, any_namespace, any_name))
                .is_some_and(|verdict| {
                    verdict.epoch == epoch
                        && verdict
                            .expires
                            .is_none_or(|expires| Instant::now() < expires)
                })
        };
        holds(true, true) || holds(false, true) || holds(false, false) || holds(true, false)
    }

    pub fn remember(&self, request: &Request, allow: &Allow) {
        if request.impersonates() {
            return;
        }
        let expires = allow.ttl.map(|ttl| Instant::now() + ttl);
        let verdict = Verdict {
            epoch: allow.epoch,
            expires,
        };
        let mut verdicts = self.verdicts.write();
        if verdicts.count >= VERDICTS_MAX {
            *verdicts = Verdicts::default();
        }
        let known = verdicts
            .by_credential
            .entry(request.credential.clone())
            .or_default();
        let fresh = known
            .insert(key(request, allow.any_namespace, allow.any_name), verdict)
            .is_none();
        verdicts.count += usize::from(fresh);
    }

    pub fn len(&self) -> usize {
        self.verdicts.read().count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The part of the verdict key behind the credential. Lengths keep the parts apart, whatever a client writes into them.
fn key(request: &Request, any_namespace: bool, any_name: bool) -> Vec<u8> {
    let info = &request.info;
    let mut key = Vec::with_capacity(96);
    key.push(u8::from(any_namespace) << 1 | u8::from(any_name));
    let namespace = if any_namespace {
        ""
    } else {
        info.namespace.as_str()
    };
    let name = if any_name { "" } else { info.name.as_str() };
    let path = if info.is_resource {
        ""
    } else {
        request.path.as_str()
    };
    for part in [
        &info.verb,
        &info.group,
        &info.version,
        &info.resource,
        &info.subresource,
        namespace,
        name,
        path,
    ] {
        key.extend_from_slice(&(part.len() as u32).to_le_bytes());
        key.extend_from_slice(part.as_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    fn request(token: &'static str, target: &str) -> Request {
        let credential = Credential::Token(Bytes::from_static(token.as_bytes()));
        Request::new(
            Method::GET,
            target,
            HeaderMap::new(),
            credential,
            String::new(),
        )
    }

    fn allow(epoch: u64, any_name: bool, any_namespace: bool) -> Allow {
        Allow {
            epoch,
            user: "ann".to_owned(),
            any_name,
            any_namespace,
            ttl: None,
        }
    }

    #[test]
    fn one_verdict_with_any_name_serves_every_name_of_the_namespace() {
        let cache = VerdictCache::default();
        cache.remember(
            &request("ann", "/api/v1/namespaces/a/pods/x"),
            &allow(1, true, false),
        );
        assert!(cache.allows(&request("ann", "/api/v1/namespaces/a/pods/y"), 1));
        assert!(!cache.allows(&request("ann", "/api/v1/namespaces/b/pods/y"), 1));
        assert!(!cache.allows(&request("bob", "/api/v1/namespaces/a/pods/y"), 1));
        assert!(!cache.allows(&request("ann", "/api/v1/namespaces/a/pods"), 1));
        assert!(!cache.allows(&request("ann", "/api/v1/namespaces/a/pods/y/status"), 1));
    }

    #[test]
    fn an_exact_verdict_is_not_wider_than_its_name() {
        let cache = VerdictCache::default();
        cache.remember(
            &request("ann", "/api/v1/namespaces/a/pods/x"),
            &allow(1, false, false),
        );
        assert!(cache.allows(&request("ann", "/api/v1/namespaces/a/pods/x"), 1));
        assert!(!cache.allows(&request("ann", "/api/v1/namespaces/a/pods/y"), 1));
    }

    #[test]
    fn a_verdict_for_all_namespaces_serves_each() {
        let cache = VerdictCache::default();
        cache.remember(
            &request("ann", "/api/v1/namespaces/a/pods/x"),
            &allow(1, true, true),
        );
        assert!(cache.allows(&request("ann", "/api/v1/namespaces/b/pods/z"), 1));
    }

    #[test]
    fn a_verdict_ends_with_its_epoch_and_its_time() {
        let cache = VerdictCache::default();
        cache.remember(&request("ann", "/api/v1/pods"), &allow(1, true, true));
        assert!(!cache.allows(&request("ann", "/api/v1/pods"), 2));
        let short = Allow {
            ttl: Some(Duration::ZERO),
            ..allow(2, true, true)
        };
        cache.remember(&request("ann", "/api/v1/pods"), &short);
        assert!(!cache.allows(&request("ann", "/api/v1/pods"), 2));
    }

    #[test]
    fn impersonation_makes_no_verdict_and_uses_none() {
        let cache = VerdictCache::default();
        cache.remember(&request("ann", "/api/v1/pods"), &allow(1, true, true));
        let mut impersonating = request("ann", "/api/v1/pods");
        impersonating
            .headers
            .insert("impersonate-user", "bob".parse().unwrap());
        assert!(!cache.allows(&impersonating, 1));
        cache.remember(&impersonating, &allow(1, true, true));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn at_its_bound_the_cache_starts_over() {
        let cache = VerdictCache::default();
        for number in 0..VERDICTS_MAX {
            cache.remember(
                &request("ann", &format!("/api/v1/namespaces/a/pods/p{number}")),
                &allow(1, false, false),
            );
        }
        assert_eq!(cache.len(), VERDICTS_MAX);
        cache.remember(&request("ann", "/api/v1/pods"), &allow(1, true, true));
        assert_eq!(cache.len(), 1);
    }
}
