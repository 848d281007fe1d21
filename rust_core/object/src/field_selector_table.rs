//! The fields by which each built-in resource can be selected, as Kubernetes 1.35 has them.
//!
//! A resource that is not in the table offers `metadata.name` and `metadata.namespace`.

/// How a field is read from an encoded object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    /// A scalar at a path, and what stands for it when it is absent.
    Path(&'static [&'static str], &'static str),
    /// The first that is not empty.
    Either(&'static [&'static str], &'static [&'static str]),
    FirstPodIp,
    /// Accepted, but never filled: always empty.
    Never,
}

/// A field under its name in a request, the name under which it is known inside, and how it is read.
struct Field {
    label: &'static str,
    name: &'static str,
    reading: Reading,
}

/// The fields of one resource, in all its versions.
struct Resource {
    group: &'static str,
    resource: &'static str,
    fields: &'static [Field],
}

const fn same(label: &'static str, reading: Reading) -> Field {
    Field {
        label,
        name: label,
        reading,
    }
}

const fn path(label: &'static str, path: &'static [&'static str]) -> Field {
    same(label, Reading::Path(path, ""))
}

const NAME: Field = path("metadata.name", &["metadata", "name"]);
const NAMESPACE: Field = path("metadata.namespace", &["metadata", "namespace"]);
const SIGNER_NAME: Field = path("spec.signerName", &["spec", "signerName"]);

const fn regarding(
    label: &'static str,
    name: &'static str,
    path: &'static [&'static str],
) -> Field {
    Field {
        label,
        name,
        reading: Reading::Path(path, ""),
    }
}

const RESOURCES: &[Resource] = &[
    Resource {
        group: "",
        resource: "pods",
        fields: &[
            NAME,
            NAMESPACE,
            path("spec.nodeName", &["spec", "nodeName"]),
            Field {
                label: "spec.host",
                name: "spec.nodeName",
                reading: Reading::Path(&["spec", "nodeName"], ""),
            },
            path("spec.restartPolicy", &["spec", "restartPolicy"]),
            path("spec.schedulerName", &["spec", "schedulerName"]),
            path("spec.serviceAccountName", &["spec", "serviceAccountName"]),
            same(
                "spec.hostNetwork",
                Reading::Path(&["spec", "hostNetwork"], "false"),
            ),
            path("status.phase", &["status", "phase"]),
            same("status.podIP", Reading::FirstPodIp),
            same("status.podIPs", Reading::Never),
            path("status.nominatedNodeName", &["status", "nominatedNodeName"]),
        ],
    },
    Resource {
        group: "",
        resource: "nodes",
        fields: &[
            NAME,
            same(
                "spec.unschedulable",
                Reading::Path(&["spec", "unschedulable"], "false"),
            ),
        ],
    },
    Resource {
        group: "",
        resource: "replicationcontrollers",
        fields: &[
            NAME,
            NAMESPACE,
            same(
                "status.replicas",
                Reading::Path(&["status", "replicas"], "0"),
            ),
        ],
    },
    Resource {
        group: "",
        resource: "events",
        fields: &[
            NAME,
            NAMESPACE,
            path("involvedObject.kind", &["involvedObject", "kind"]),
            path("involvedObject.namespace", &["involvedObject", "namespace"]),
            path("involvedObject.name", &["involvedObject", "name"]),
            path("involvedObject.uid", &["involvedObject", "uid"]),
            path(
                "involvedObject.apiVersion",
                &["involvedObject", "apiVersion"],
            ),
            path(
                "involvedObject.resourceVersion",
                &["involvedObject", "resourceVersion"],
            ),
            path("involvedObject.fieldPath", &["involvedObject", "fieldPath"]),
            path("reason", &["reason"]),
            path("reportingComponent", &["reportingComponent"]),
            same(
                "source",
                Reading::Either(&["source", "component"], &["reportingComponent"]),
            ),
            path("type", &["type"]),
        ],
    },
    Resource {
        group: "events.k8s.io",
        resource: "events",
        fields: &[
            NAME,
            NAMESPACE,
            path("reason", &["reason"]),
            regarding(
                "regarding.kind",
                "involvedObject.kind",
                &["involvedObject", "kind"],
            ),
            regarding(
                "regarding.namespace",
                "involvedObject.namespace",
                &["involvedObject", "namespace"],
            ),
            regarding(
                "regarding.name",
                "involvedObject.name",
                &["involvedObject", "name"],
            ),
            regarding(
                "regarding.uid",
                "involvedObject.uid",
                &["involvedObject", "uid"],
            ),
            regarding(
                "regarding.apiVersion",
                "involvedObject.apiVersion",
                &["involvedObject", "apiVersion"],
            ),
            regarding(
                "regarding.resourceVersion",
                "involvedObject.resourceVersion",
                &["involvedObject", "resourceVersion"],
            ),
            regarding(
                "regarding.fieldPath",
                "involvedObject.fieldPath",
                &["involvedObject", "fieldPath"],
            ),
            regarding(
                "reportingController",
                "reportingComponent",
                &["reportingComponent"],
            ),
            path("type", &["type"]),
        ],
    },
    Resource {
        group: "",
        resource: "namespaces",
        fields: &[NAME, path("status.phase", &["status", "phase"])],
    },
    Resource {
        group: "",
        resource: "secrets",
        fields: &[NAME, NAMESPACE, path("type", &["type"])],
    },
    Resource {
        group: "",
        resource: "services",
        fields: &[
            NAME,
            NAMESPACE,
            path("spec.clusterIP", &["spec", "clusterIP"]),
            path("spec.type", &["spec", "type"]),
        ],
    },
    Resource {
        group: "batch",
        resource: "jobs",
        fields: &[
            NAME,
            NAMESPACE,
            same(
                "status.successful",
                Reading::Path(&["status", "succeeded"], "0"),
            ),
        ],
    },
    Resource {
        group: "certificates.k8s.io",
        resource: "certificatesigningrequests",
        fields: &[NAME, SIGNER_NAME],
    },
    Resource {
        group: "certificates.k8s.io",
        resource: "clustertrustbundles",
        fields: &[NAME, SIGNER_NAME],
    },
    Resource {
        group: "certificates.k8s.io",
        resource: "podcertificaterequests",
        fields: &[
            NAME,
            SIGNER_NAME,
            path("spec.podName", &["spec", "podName"]),
            path("spec.nodeName", &["spec", "nodeName"]),
        ],
    },
    Resource {
        group: "resource.k8s.io",
        resource: "resourceslices",
        fields: &[
            NAME,
            path("spec.nodeName", &["spec", "nodeName"]),
            path("spec.driver", &["spec", "driver"]),
        ],
    },
];

/// The field's inner name and how to read it, or upstream's message if the resource does not offer it.
pub(crate) fn resolve(
    group: &str,
    version: &str,
    resource: &str,
    label: &str,
) -> Result<(&'static str, Reading), String> {
    let row = RESOURCES
        .iter()
        .find(|row| row.group == group && row.resource == resource);
    let fields = row.map_or([NAME, NAMESPACE].as_slice(), |row| row.fields);
    if let Some(field) = fields.iter().find(|field| field.label == label) {
        return Ok((field.name, field.reading));
    }
    Err(match (row, resource) {
        (None, _) => {
            format!(
                "{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        }
        (Some(_), "resourceslices") => {
            format!("field label not supported for {group}/{version}, Kind=ResourceSlice: {label}")
        }
        (Some(_), _) => format!("field label not supported: {label}"),
    })
}
