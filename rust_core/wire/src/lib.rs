//! The front door: sockets, TLS, HTTP, reads and watches.
//!
//! ```text
//! listener   sockets, connections, the end      request, request_info   what is asked
//! tls        certificates                       options, accept         how it is asked
//! serve      one HTTP request                   door                    who answers: the wire or Python
//! body       answers as HTTP bodies             list, watch_stream      reads, sans-IO
//! forward    what a kubelet or a pod answers
//! handover   the queue to Python                verdict                 what Python has allowed
//! ```
//!
//! Everything but `listener`, `serve`, `body`, `forward` and `watch_body` works without a runtime: a request from inside the process takes the
//! same way on its caller's thread. The design is in docs/design/wire.md.

mod accept;
mod audit_id;
mod body;
mod continue_token;
mod cut_io;
mod door;
mod encoder;
mod error;
mod forward;
mod handover;
mod list;
mod list_body;
mod listener;
mod metrics;
mod options;
mod pretty;
mod reply;
mod request;
mod request_info;
mod resources;
mod selection;
mod serve;
mod stall;
mod status;
mod tls;
mod verdict;
mod watch_body;
mod watch_stream;
mod watchers;

pub use door::{Begun, Door, PendingWatch, Served};
pub use error::WireError;
pub use forward::{Forward, Mount};
pub use handover::{Call, Settlement, Wants};
pub use list::List;
pub use listener::Server;
pub use reply::Reply;
pub use request::{Credential, Query, Request};
pub use request_info::RequestInfo;
pub use status::Status;
pub use tls::Tls;
pub use verdict::Allow;
pub use watch_stream::{Item, Step, WatchStream};
