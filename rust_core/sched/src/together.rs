//! Which pods belong together: those of one service, of one controller. The profile's default spread constraints keep them apart.

use std::collections::BTreeMap;

use crate::kinds::PodKind;
use crate::labels::{LabelSelector, Requirement, lookup};
use crate::snapshot::Map;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    ReplicationController,
    ReplicaSet,
    StatefulSet,
}

/// `(apiVersion, kind)` as owner references write it.
const OWNERS: [(&str, &str, OwnerKind); 3] = [
    (
        "v1",
        "ReplicationController",
        OwnerKind::ReplicationController,
    ),
    ("apps/v1", "ReplicaSet", OwnerKind::ReplicaSet),
    ("apps/v1", "StatefulSet", OwnerKind::StatefulSet),
];

/// The controller of a pod, if it is one of those that spread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    pub kind: OwnerKind,
    pub name: Box<str>,
}

impl Owner {
    pub fn of(api_version: &str, kind: &str, name: &str) -> Option<Owner> {
        let mut owners = OWNERS.iter();
        let (_, _, kind) = owners.find(|each| (each.0, each.1) == (api_version, kind))?;
        Some(Owner {
            kind: *kind,
            name: name.into(),
        })
    }
}

type Equalities = BTreeMap<String, String>;

/// What services and controllers select, by namespace.
#[derive(Debug, Default)]
pub struct Together {
    services: Map<Box<str>, BTreeMap<Box<str>, Equalities>>,
    controllers: Map<Box<str>, Map<Owner, LabelSelector>>,
}

impl Together {
    /// None: the service is gone, or selects nobody.
    pub fn put_service(&mut self, namespace: &str, name: &str, selector: Option<Equalities>) {
        let services = self.services.entry(namespace.into()).or_default();
        match selector {
            Some(selector) => services.insert(name.into(), selector),
            None => services.remove(name),
        };
        if services.is_empty() {
            self.services.remove(namespace);
        }
    }

    /// None: it is gone.
    pub fn put_controller(
        &mut self,
        namespace: &str,
        owner: Owner,
        selector: Option<LabelSelector>,
    ) {
        let controllers = self.controllers.entry(namespace.into()).or_default();
        match selector {
            Some(selector) => controllers.insert(owner, selector),
            None => controllers.remove(&owner),
        };
        if controllers.is_empty() {
            self.controllers.remove(namespace);
        }
    }

    /// The pods that belong together with this one; None if nothing says so.
    pub fn selector(&self, pod: &PodKind, owner: Option<&Owner>) -> Option<LabelSelector> {
        let services = self.services.get(&pod.namespace).into_iter().flatten();
        let of_services: Equalities = services
            .filter(|(_, selector)| {
                let mut each = selector.iter();
                each.all(|(key, value)| lookup(&pod.labels, key) == Some(value))
            })
            .flat_map(|(_, selector)| selector.clone())
            .collect();
        let equal = of_services.iter();
        let equal = equal.map(|(key, value)| Requirement::equals(key, value));
        let controllers = self.controllers.get(&pod.namespace);
        let of_owner = owner.and_then(|owner| controllers?.get(owner));
        let selector = match of_owner {
            Some(LabelSelector::All(own)) => LabelSelector::All(own.clone()).and(equal),
            _ => LabelSelector::All(Vec::new()).and(equal),
        };
        (!selector.is_empty()).then_some(selector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Terms;

    fn pod(app: &str) -> PodKind {
        PodKind {
            namespace: "default".into(),
            labels: [("app".into(), app.into())].into(),
            terms: Terms::default(),
            terminating: false,
        }
    }

    fn equal(app: &str) -> Equalities {
        BTreeMap::from([("app".to_owned(), app.to_owned())])
    }

    #[test]
    fn a_pod_belongs_to_the_services_that_select_it_and_to_its_controller() {
        let mut together = Together::default();
        together.put_service("default", "web", Some(equal("web")));
        together.put_service("other", "web", Some(equal("db")));
        let web = together
            .selector(&pod("web"), None)
            .expect("a service selects it");
        assert!(web.matches(&pod("web").labels) && !web.matches(&pod("db").labels));
        assert_eq!(together.selector(&pod("db"), None), None);
        let owner = Owner::of("apps/v1", "ReplicaSet", "db-1").expect("a kind that spreads");
        let selector = LabelSelector::All(vec![Requirement::equals("app", "db")]);
        together.put_controller("default", owner.clone(), Some(selector.clone()));
        assert_eq!(together.selector(&pod("db"), Some(&owner)), Some(selector));
        together.put_controller("default", owner.clone(), None);
        assert_eq!(together.selector(&pod("db"), Some(&owner)), None);
        assert_eq!(Owner::of("batch/v1", "Job", "a"), None);
    }
}
