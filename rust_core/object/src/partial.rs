//! PartialObjectMetadata: an object's metadata and nothing else, copied out of its encoded bytes.

use crate::scan;
use crate::table::ListMetadata;

/// Appends one encoded PartialObjectMetadata. `version`: of meta.k8s.io, `v1` or `v1beta1`.
pub fn write_partial_metadata(object: &[u8], version: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(scan::member(object, "metadata").unwrap_or(b"{}"));
    out.push(b'}');
}

/// One encoded PartialObjectMetadata.
pub fn partial_metadata(object: &[u8], version: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len().min(1024));
    write_partial_metadata(object, version, &mut out);
    out
}

/// An encoded PartialObjectMetadataList.
pub fn partial_metadata_list<'a>(
    objects: impl IntoIterator<Item = &'a [u8]>,
    version: &str,
    metadata: &ListMetadata,
) -> Vec<u8> {
    let head = format!(
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{},\"items\":[",
        metadata.to_json()
    );
    let mut out = head.into_bytes();
    for (index, object) in objects.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_partial_metadata(object, version, &mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","name":"a"},"spec":{"nodeName":"n"}}"#;

    #[test]
    fn metadata_is_copied_and_the_rest_left_out() {
        let expected = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7","name":"a"}}"#;
        assert_eq!(
            String::from_utf8(partial_metadata(POD, "v1")).unwrap(),
            expected
        );
    }

    #[test]
    fn a_list_says_where_it_continues() {
        let metadata = ListMetadata {
            resource_version: "9".into(),
            continue_token: "x".into(),
            remaining: Some(3),
        };
        let list: serde_json::Value =
            serde_json::from_slice(&partial_metadata_list([POD, POD], "v1beta1", &metadata))
                .unwrap();
        assert_eq!(
            list["metadata"],
            serde_json::json!({"resourceVersion": "9", "continue": "x", "remainingItemCount": 3})
        );
        assert_eq!(list["items"].as_array().unwrap().len(), 2);
        assert_eq!(list["apiVersion"], "meta.k8s.io/v1beta1");
    }
}
