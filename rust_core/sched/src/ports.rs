//! Host ports: a port of a node that a pod takes for itself, on one address or on all.

use crate::wire;

const ALL_ADDRESSES: &str = "0.0.0.0";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    address: Box<str>,
    protocol: Box<str>,
    port: i32,
}

fn or<'a>(text: &'a Option<String>, default: &'a str) -> &'a str {
    text.as_deref()
        .filter(|text| !text.is_empty())
        .unwrap_or(default)
}

impl HostPort {
    /// Those of the containers that run for the pod's whole life: sidecars, then the containers.
    pub fn of(spec: &wire::PodSpec) -> Vec<HostPort> {
        let sidecars = spec.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|each| each.restart_policy.as_deref() == Some("Always"));
        let ports = sidecars
            .chain(spec.containers.iter().flatten())
            .flat_map(|container| container.ports.iter().flatten());
        ports
            .filter_map(|port| {
                Some(HostPort {
                    address: or(&port.host_ip, ALL_ADDRESSES).into(),
                    protocol: or(&port.protocol, "TCP").into(),
                    port: port.host_port.filter(|number| *number > 0)?,
                })
            })
            .collect()
    }

    /// The two cannot be on one node.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address
                || &*self.address == ALL_ADDRESSES
                || &*other.address == ALL_ADDRESSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(spec: &str) -> Vec<HostPort> {
        HostPort::of(&serde_json::from_str(spec).expect("a pod spec"))
    }

    #[test]
    fn sidecars_and_containers_hold_ports_and_other_init_containers_do_not() {
        let port =
            |number: i32| format!(r#"{{"ports":[{{"hostPort":{number}}},{{"containerPort":1}}]"#);
        let spec = format!(
            r#"{{"initContainers":[{}}},{},"restartPolicy":"Always"}}],"containers":[{}}}]}}"#,
            port(1),
            port(2),
            port(3)
        );
        assert_eq!(
            ports(&spec)
                .iter()
                .map(|port| port.port)
                .collect::<Vec<_>>(),
            [2, 3]
        );
    }

    #[test]
    fn ports_conflict_on_the_same_address_and_protocol_and_all_addresses_hold_each() {
        let one =
            |text: &str| ports(&format!(r#"{{"containers":[{{"ports":[{text}]}}]}}"#)).remove(0);
        let base = one(r#"{"hostPort":80,"hostIP":"10.0.0.1"}"#);
        for (other, expected) in [
            (
                r#"{"hostPort":80,"hostIP":"10.0.0.1","protocol":"TCP"}"#,
                true,
            ),
            (r#"{"hostPort":80,"hostIP":"10.0.0.2"}"#, false),
            (r#"{"hostPort":80}"#, true),
            (r#"{"hostPort":80,"protocol":"UDP"}"#, false),
            (r#"{"hostPort":81}"#, false),
        ] {
            assert_eq!(base.conflicts(&one(other)), expected, "{other}");
            assert_eq!(one(other).conflicts(&base), expected, "{other}");
        }
    }
}
