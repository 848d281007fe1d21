//! What kubectl shows of services, ingresses and endpoints.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cells::{
    Argument, Functions, at, first_few, items, number_at, or_none, strings, text, text_at,
};

const SHOWN_MAX: usize = 3;

pub const FUNCTIONS: Functions = &[
    ("cluster_ip", |service, _| {
        strings(at(service, "spec.clusterIPs"))
            .next()
            .unwrap_or("<none>")
            .into()
    }),
    ("external_ip", external_ip),
    ("service_ports", service_ports),
    ("load_balancer", |object, _| load_balancer(object).into()),
    ("ingress_hosts", ingress_hosts),
    ("ingress_ports", |ingress, _| {
        if items(ingress, "spec.tls").len() > 0 {
            "80, 443"
        } else {
            "80"
        }
        .into()
    }),
    ("ingress_class_parameters", ingress_class_parameters),
    ("endpoints", endpoints),
    ("slice_ports", |slice, _| {
        let number = |port: &Value| match (&port["port"], &port["name"]) {
            (Value::Null, Value::Null) => "*".to_owned(),
            (Value::Null, name) => text(name),
            (number, _) => text(number),
        };
        first_few(items(slice, "ports").map(number), SHOWN_MAX, "<unset>").into()
    }),
    ("slice_endpoints", |slice, _| {
        let addresses =
            items(slice, "endpoints").flat_map(|endpoint| strings(&endpoint["addresses"]));
        first_few(addresses.map(str::to_owned), SHOWN_MAX, "<unset>").into()
    }),
    ("parent_reference", parent_reference),
];

fn load_balancer(object: &Value) -> String {
    let entrances = items(object, "status.loadBalancer.ingress");
    let address = |entrance| {
        [text_at(entrance, "ip"), text_at(entrance, "hostname")]
            .into_iter()
            .find(|text| !text.is_empty())
    };
    entrances
        .filter_map(address)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(",")
}

fn external_ip(service: &Value, _: &Argument<'_>) -> Value {
    let external = strings(at(service, "spec.externalIPs"))
        .collect::<Vec<_>>()
        .join(",");
    match text_at(service, "spec.type") {
        "ClusterIP" | "NodePort" => or_none(external).into(),
        "LoadBalancer" => {
            let all: Vec<String> = [load_balancer(service), external]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            if all.is_empty() {
                "<pending>".into()
            } else {
                all.join(",").into()
            }
        }
        "ExternalName" => text_at(service, "spec.externalName").into(),
        _ => "<unknown>".into(),
    }
}

fn service_ports(service: &Value, _: &Argument<'_>) -> Value {
    let port = |port: &Value| {
        let (number, protocol) = (number_at(port, "port"), text_at(port, "protocol"));
        match number_at(port, "nodePort") {
            node_port if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    or_none(
        items(service, "spec.ports")
            .map(port)
            .collect::<Vec<_>>()
            .join(","),
    )
    .into()
}

/// Hosts among the first three rules; upstream counts the rules, not the hosts.
fn ingress_hosts(ingress: &Value, _: &Argument<'_>) -> Value {
    let rules = items(ingress, "spec.rules");
    let total = rules.len();
    let mut shown = Vec::new();
    let mut more = false;
    for host in rules.map(|rule| text_at(rule, "host")) {
        more |= shown.len() == SHOWN_MAX;
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".into(),
        (false, false) => shown.join(",").into(),
        (false, true) => format!("{} + {} more...", shown.join(","), total - SHOWN_MAX).into(),
    }
}

fn ingress_class_parameters(class: &Value, _: &Argument<'_>) -> Value {
    let parameters = at(class, "spec.parameters");
    if parameters.is_null() {
        return "<none>".into();
    }
    let group = parameters["apiGroup"]
        .as_str()
        .map(|group| format!(".{group}"))
        .unwrap_or_default();
    format!(
        "{}{group}/{}",
        text_at(parameters, "kind"),
        text_at(parameters, "name")
    )
    .into()
}

fn endpoints(object: &Value, _: &Argument<'_>) -> Value {
    let mut all = Vec::new();
    for subset in items(object, "subsets") {
        let addresses = || items(subset, "addresses").map(|address| text_at(address, "ip"));
        if items(subset, "ports").len() == 0 {
            all.extend(addresses().map(str::to_owned));
        }
        for port in items(subset, "ports") {
            let number = number_at(port, "port");
            let join = |address: &str| {
                if address.contains(':') {
                    format!("[{address}]:{number}")
                } else {
                    format!("{address}:{number}")
                }
            };
            all.extend(addresses().map(join));
        }
    }
    let empty = if items(object, "subsets").len() == 0 {
        "<none>"
    } else {
        ""
    };
    first_few(all.into_iter(), SHOWN_MAX, empty).into()
}

fn parent_reference(address: &Value, _: &Argument<'_>) -> Value {
    let parent = at(address, "spec.parentRef");
    if parent.is_null() {
        return "<none>".into();
    }
    let resource = [text_at(parent, "resource"), text_at(parent, "group")]
        .into_iter()
        .filter(|part| !part.is_empty());
    let resource = resource.collect::<Vec<_>>().join(".").to_lowercase();
    let path = [resource.as_str(), text_at(parent, "namespace")]
        .into_iter()
        .filter(|part| !part.is_empty());
    format!(
        "{}/{}",
        path.collect::<Vec<_>>().join("/"),
        text_at(parent, "name")
    )
    .into()
}
