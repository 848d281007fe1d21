//! A whole answer, ready to be written.

use std::borrow::Cow;

use bytes::Bytes;

pub const JSON: &str = "application/json";

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: Cow<'static, str>,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Nobody may see this answer before that revision is durable.
    pub revision: u64,
}

impl Reply {
    pub fn json(status: u16, body: Bytes) -> Self {
        Reply {
            status,
            content_type: Cow::Borrowed(JSON),
            headers: Vec::new(),
            body,
            revision: 0,
        }
    }
}
