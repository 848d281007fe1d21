//! What holds for every input: nothing panics, and what is canonical stays as it is.

use std::borrow::Cow;

use kubecore_object::decode::decode;
use kubecore_object::default;
use kubecore_object::facts::Gvk;
use kubecore_object::quantity;
use kubecore_object::time::{self, Precision};
use kubecore_object::tree::Node;
use kubecore_object::write::write_json;
use kubecore_object::{decode::untyped, protobuf};
use proptest::prelude::*;

const POD: Gvk<'static> = Gvk {
    group: "",
    version: "v1",
    kind: "Pod",
};
const BODY: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":{"a":"b","é":"\u00e9"},
    "creationTimestamp":"2026-01-01T00:00:00+02:00"},"spec":{"containers":[{"name":"c","image":"i:1",
    "resources":{"limits":{"cpu":"1500u","memory":"1.5Gi"}},"ports":[{"containerPort":80}]}],
    "tolerations":[{"tolerationSeconds":-3}],"volumes":[{"name":"v"}]}}"#;

fn written(node: &Node<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_json(node, &mut out);
    out
}

/// Decoded and defaulted, if it is a pod at all.
fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = decode(POD, body).ok()?;
    default::apply(&mut decoded.object);
    Some(written(&decoded.object))
}

proptest! {
    #[test]
    fn no_bytes_do_more_than_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(POD, &bytes);
        let _ = protobuf::decode(POD, &[b"k8s\0", bytes.as_slice()].concat());
        let _ = protobuf::decode(POD, &[b"k8s\0\x12".as_slice(), &[bytes.len() as u8 & 0x7f], &bytes].concat());
    }

    #[test]
    fn what_a_changed_body_becomes_stays_as_it_is(
        place in 0..BODY.len(), cut in 0..20usize, put in "[\\[\\]{}\",:0-9a-z. \\\\-]{0,6}"
    ) {
        let end = (place + cut).min(BODY.len());
        let body = [&BODY.as_bytes()[..place], put.as_bytes(), &BODY.as_bytes()[end..]].concat();
        if let Some(once) = canonical(&body) {
            prop_assert_eq!(canonical(&once), Some(once));
        }
    }

    #[test]
    fn text_survives_writing_and_reading(text in any::<String>()) {
        let bytes = written(&Node::String(Cow::Borrowed(&text)));
        prop_assert_eq!(untyped(&bytes).expect("what we write is JSON"), Node::String(Cow::Owned(text)));
    }

    #[test]
    fn a_canonical_quantity_stays_as_it_is(text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,12})?([numkMGTPE]|[KMGTPE]i|e-?[0-9]{1,2})?") {
        if let Ok(once) = quantity::canonical(Cow::Borrowed(&text)) {
            prop_assert_eq!(quantity::canonical(once.clone()), Ok(once));
        }
    }

    #[test]
    fn a_canonical_time_stays_as_it_is(
        year in 0..10_000u32, month in 1..13u32, day in 1..29u32, hour in 0..24u32, offset in -23..24i32
    ) {
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:00:00{offset:+03}:30");
        let once = time::canonical(Cow::Borrowed(&text), Precision::Seconds).expect("a time");
        // The years 0 and 9999 can leave the range by their offset; RFC 3339 has no more digits.
        if once.len() == 20 && !once.starts_with('-') {
            prop_assert_eq!(time::canonical(once.clone(), Precision::Seconds), Ok(once));
        }
    }
}
