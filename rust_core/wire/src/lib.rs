//! The front door: sockets, TLS, HTTP, reads and watches.
