//! One request as every part of the wire sees it, whichever way it came in: over a socket or from inside the process.

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::request_info::RequestInfo;

/// Who says they are asking. Part of the verdict key; what it means is decided in Python.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Credential {
    /// DER of a client certificate that the client CA vouches for.
    Certificate(Bytes),
    /// A bearer token.
    Token(Bytes),
    /// The identity of a part of this process, such as `system:kube-scheduler`.
    Local(Bytes),
    /// Nothing: anonymous, if the authenticator lets it be.
    None,
}

impl Credential {
    pub fn kind(&self) -> &'static str {
        match self {
            Credential::Certificate(_) => "certificate",
            Credential::Token(_) => "token",
            Credential::Local(_) => "local",
            Credential::None => "none",
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Credential::Certificate(bytes)
            | Credential::Token(bytes)
            | Credential::Local(bytes) => bytes,
            Credential::None => &[],
        }
    }
}

#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// Percent-decoded.
    pub path: String,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub credential: Credential,
    pub remote_address: String,
    pub info: RequestInfo,
}

impl Request {
    pub fn new(
        method: Method,
        target: &str,
        headers: HeaderMap,
        credential: Credential,
        remote_address: String,
    ) -> Self {
        let (raw_path, raw_query) = target.split_once('?').unwrap_or((target, ""));
        let path = decode(raw_path, false);
        let query = Query::parse(raw_query);
        let info = RequestInfo::new(method.as_str(), &path, &query);
        Request {
            method,
            path,
            query,
            headers,
            body: Bytes::new(),
            credential,
            remote_address,
            info,
        }
    }

    /// A header's value if it is there once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Impersonation changes who is asking, so such a request neither uses nor makes a verdict.
    pub fn impersonates(&self) -> bool {
        self.headers
            .keys()
            .any(|name| name.as_str().starts_with("impersonate-"))
    }
}

/// The query string's pairs in their order, decoded.
#[derive(Clone, Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    pub fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name, true), decode(value, true))
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter's value, empty if it is absent.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// Upstream's rule for booleans: there, and neither `false` nor `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }
}

/// Percent-decoding; an escape that is none stays as it is.
fn decode(text: &str, plus_is_space: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            // The number parser would take a sign.
            .filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if plus_is_space && bytes[at] == b'+' {
                    b' '
                } else {
                    bytes[at]
                });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_keeps_its_order() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&x=1+2&watch&bad=%zz&signed=%-1");
        assert_eq!(query.text("labelSelector"), "a=b,c");
        assert_eq!(query.text("x"), "1 2");
        assert_eq!(query.text("bad"), "%zz");
        assert_eq!(query.text("signed"), "%-1");
        assert!(query.flag("watch"));
        assert!(!query.flag("absent"));
        assert!(!Query::parse("watch=0").flag("watch"));
    }

    #[test]
    fn impersonation_headers_are_noticed() {
        let mut headers = HeaderMap::new();
        headers.insert("impersonate-user", "bob".parse().unwrap());
        let request = Request::new(
            Method::GET,
            "/api/v1/pods",
            headers,
            Credential::None,
            String::new(),
        );
        assert!(request.impersonates());
    }
}
