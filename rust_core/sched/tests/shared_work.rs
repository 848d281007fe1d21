//! Equal pods share their work; the result must be that of looking at every node afresh for each pod.

use std::collections::BTreeMap;

use kubecore_sched::{EventKind, Kernel, Outcome, Settings};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Node {
        name: u8,
        cpu: u8,
        cordoned: bool,
        taint: u8,
        zone: u8,
        image: bool,
    },
    RemoveNode(u8),
    /// Pods of one of a few shapes.
    Pods {
        shape: u8,
        count: u8,
    },
    Schedule(u8),
    Forget(u8),
    Delete(u8),
    /// The pod is being deleted but still there.
    Terminate(u8),
}

const SHAPES: u8 = 13;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..8, 1u8..6, prop::bool::weighted(0.1), 0u8..5, 0u8..3, any::<bool>()).prop_map(
            |(name, cpu, cordoned, taint, zone, image)| Step::Node { name, cpu, cordoned, taint, zone, image }
        ),
        1 => (0u8..8).prop_map(Step::RemoveNode),
        6 => (0u8..SHAPES, 1u8..8).prop_map(|(shape, count)| Step::Pods { shape, count }),
        4 => (1u8..12).prop_map(Step::Schedule),
        1 => any::<u8>().prop_map(Step::Forget),
        1 => any::<u8>().prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::Terminate),
    ];
    prop::collection::vec(step, 1..60)
}

fn node(name: u8, cpu: u8, cordoned: bool, taint: u8, zone: u8, image: bool) -> String {
    let taints = match taint {
        1 => r#"[{"key":"k","effect":"NoSchedule"}]"#,
        2 => r#"[{"key":"k","effect":"PreferNoSchedule"}]"#,
        3 => r#"[{"key":"k","effect":"PreferNoSchedule"},{"key":"l","effect":"PreferNoSchedule"}]"#,
        _ => "[]",
    };
    let images = if image {
        r#"[{"names":["web:1"],"sizeBytes":900000000}]"#
    } else {
        "[]"
    };
    let zone = match zone {
        2 => String::new(),
        zone => format!(r#","zone":"z{zone}""#),
    };
    format!(
        r#"{{"metadata":{{"name":"node-{name}","labels":{{"kubernetes.io/hostname":"node-{name}"{zone}}}}},"spec":{{"unschedulable":{cordoned},"taints":{taints}}},
        "status":{{"allocatable":{{"cpu":"{cpu}","memory":"4Gi","pods":"6"}},"images":{images}}}}}"#
    )
}

fn pod(index: usize, shape: u8) -> String {
    let spec = match shape {
        0 => {
            r#""containers":[{"image":"web:1","resources":{"requests":{"cpu":"500m","memory":"256Mi"}}}]"#
        }
        1 => {
            r#""containers":[{"image":"other","resources":{"requests":{"cpu":"1"}}}],"nodeSelector":{"zone":"z1"}"#
        }
        2 => r#""containers":[{"image":"other"}],"tolerations":[{"key":"k","operator":"Exists"}]"#,
        3 => {
            r#""containers":[{"resources":{"requests":{"memory":"1Gi"}}}],"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
            {"weight":40,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["z0"]}]}},
            {"weight":7,"preference":{"matchExpressions":[{"key":"zone","operator":"Exists"}]}}]}}"#
        }
        4 => r#""containers":[{"resources":{"requests":{"cpu":"3"}}}]"#,
        5 => r#""containers":[{"ports":[{"hostPort":80}]}]"#,
        6 => {
            r#""topologySpreadConstraints":[{"maxSkew":1,"minDomains":2,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"a"}}}]"#
        }
        7 => {
            r#""tolerations":[{"key":"k","operator":"Exists"}],"nodeSelector":{"zone":"z1"},"topologySpreadConstraints":[
            {"maxSkew":2,"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"DoNotSchedule","nodeTaintsPolicy":"Honor","labelSelector":{"matchExpressions":[{"key":"app","operator":"Exists"}]}}]"#
        }
        8 => {
            r#""topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"ScheduleAnyway","labelSelector":{"matchLabels":{"app":"a"}}},
            {"maxSkew":3,"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"ScheduleAnyway","labelSelector":{"matchLabels":{"app":"a"}}}]"#
        }
        9 => {
            r#""affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"b"}}}]}}"#
        }
        10 => {
            r#""affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","labelSelector":{"matchLabels":{"app":"a"}}}]}}"#
        }
        11 => {
            r#""affinity":{"podAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":10,"podAffinityTerm":{"topologyKey":"zone","labelSelector":{"matchLabels":{"app":"b"}}}}]},
            "podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":25,"podAffinityTerm":{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"a"}}}}]}}"#
        }
        _ => {
            r#""affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","labelSelector":{"matchLabels":{"app":"c"}}}]}}"#
        }
    };
    let app = ["a", "b", "c"][index % 3];
    let priority = index * 7 % 4;
    format!(
        r#"{{"metadata":{{"name":"pod-{index}","namespace":"default","uid":"{index}","labels":{{"app":"{app}"}}}},"spec":{{"priority":{priority},{spec}}}}}"#
    )
}

/// Two kernels fed alike: one decides in batches, the other pod by pod, each decision checked against a fresh look.
struct Pair {
    batched: Kernel,
    single: Kernel,
    pods: BTreeMap<String, String>,
    waiting: Vec<String>,
    made: usize,
}

impl Pair {
    fn both(&mut self, act: impl Fn(&mut Kernel)) {
        act(&mut self.batched);
        act(&mut self.single);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Node {
                name,
                cpu,
                cordoned,
                taint,
                zone,
                image,
            } => {
                let body = node(name, cpu, cordoned, taint, zone, image);
                self.both(|kernel| {
                    kernel
                        .node_event(EventKind::Put, body.as_bytes())
                        .expect("a node");
                });
            }
            Step::RemoveNode(name) => {
                let body = format!(r#"{{"metadata":{{"name":"node-{name}"}}}}"#);
                self.both(|kernel| {
                    kernel
                        .node_event(EventKind::Deleted, body.as_bytes())
                        .expect("a node");
                });
            }
            Step::Pods { shape, count } => {
                for _ in 0..count {
                    let body = pod(self.made, shape);
                    self.both(|kernel| {
                        kernel
                            .pod_event(EventKind::Put, body.as_bytes())
                            .expect("a pod");
                    });
                    let key = format!("default/pod-{}", self.made);
                    self.waiting.push(key.clone());
                    self.pods.insert(key, body);
                    self.made += 1;
                }
            }
            Step::Schedule(count) => self.schedule(usize::from(count)),
            Step::Forget(index) => {
                if let Some(key) = self.pick(index) {
                    if self.batched.forget(&key) {
                        self.waiting.push(key.clone());
                    }
                    self.single.forget(&key);
                }
            }
            Step::Terminate(index) => {
                if let Some(key) = self.pick(index) {
                    self.terminate(&key);
                }
            }
            Step::Delete(index) => {
                if let Some(key) = self.pick(index) {
                    let body = self.pods.remove(&key).expect("picked from there");
                    self.waiting.retain(|each| *each != key);
                    self.both(|kernel| {
                        kernel
                            .pod_event(EventKind::Deleted, body.as_bytes())
                            .expect("a pod");
                    });
                }
            }
        }
    }

    fn terminate(&mut self, key: &str) {
        let body = &self.pods[key];
        let on = self
            .single
            .node_of(key)
            .map(|node| format!(r#""nodeName":"{node}","#));
        let body = body
            .replace(
                r#""metadata":{"#,
                r#""metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","#,
            )
            .replace(
                r#""spec":{"#,
                &format!(r#""spec":{{{}"#, on.unwrap_or_default()),
            );
        self.waiting.retain(|each| each != key);
        self.both(|kernel| {
            kernel
                .pod_event(EventKind::Put, body.as_bytes())
                .expect("a pod");
        });
    }

    fn pick(&self, index: u8) -> Option<String> {
        let count = self.pods.len().max(1);
        self.pods.keys().nth(usize::from(index) % count).cloned()
    }

    fn schedule(&mut self, count: usize) {
        let keys: Vec<String> = self
            .waiting
            .drain(..count.min(self.waiting.len()))
            .collect();
        let batch = self.batched.schedule(keys.iter().map(String::as_str));
        for (key, outcome) in keys.iter().zip(batch) {
            let explained = self
                .single
                .explain(self.pods[key].as_bytes())
                .expect("a pod");
            let (expected, why) = (explained.node, explained.failure);
            let single = self.single.schedule([key.as_str()]).remove(0);
            assert_eq!(outcome, single, "{key}: a batch decides as one by one");
            match single {
                Outcome::Placed(node) => assert_eq!(
                    Some(node),
                    expected,
                    "{key}: shared work decides as a fresh look"
                ),
                Outcome::Failed(failure) => {
                    assert_eq!(
                        (expected, &why),
                        (None, &*failure),
                        "{key}: for the same reasons"
                    );
                    self.waiting.push(key.clone());
                }
                Outcome::Skipped => panic!("{key} was pending"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn shared_work_decides_as_a_fresh_look_at_every_node_for_each_pod(seed in any::<u64>(), steps in steps()) {
        let new = || Kernel::new(seed, &[Settings::default()]);
        let mut pair = Pair { batched: new(), single: new(), pods: BTreeMap::new(), waiting: Vec::new(), made: 0 };
        for step in steps {
            pair.step(step);
        }
    }
}
