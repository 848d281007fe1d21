//! What can go wrong when a door is opened. What goes wrong with a request is a `Status`.

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("a certificate or key cannot be read: {0}")]
    Pem(String),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the resource table cannot be read: {0}")]
    Resources(#[from] serde_json::Error),
    #[error("no thread for the listener: {0}")]
    Runtime(std::io::Error),
    #[error("no call {0} waits for an answer")]
    UnknownCall(u64),
    #[error("{0} is not a loopback address")]
    NotLoopback(String),
}
