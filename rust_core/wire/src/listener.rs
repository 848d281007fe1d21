//! Sockets: the runtime that serves them, TLS handshakes, one task per connection, and the graceful end.
//!
//! Bounds: `CONNECTIONS_MAX` open connections (more wait in the kernel's backlog until one ends), `HANDSHAKE_TIMEOUT` for TLS,
//! `HEADER_TIMEOUT` for a request's head and for an idle HTTP/1.1 connection, `HEADERS_SIZE_MAX_BYTES` for a head.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cut_io::CutSlowWriter;
use crate::door::Door;
use crate::error::WireError;
use crate::serve::{self, Caller};
use crate::tls::{Peer, Tls};

pub const CONNECTIONS_MAX: usize = 10_000;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Upstream gives an idle connection as long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
const HEADERS_SIZE_MAX_BYTES: u32 = 1 << 20;
const STREAMS_PER_CONNECTION_MAX: u32 = 250;
const FRAME_SIZE_BYTES: u32 = 64 << 10;
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const SEND_BUFFER_BYTES: usize = 256 << 10;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// After an accept that failed for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    Serving,
    /// Nothing new is accepted, watches end, what is in flight is answered.
    Draining,
}

pub struct Server {
    door: Arc<Door>,
    runtime: Mutex<Option<Runtime>>,
    phase: watch::Sender<Phase>,
    connections: Arc<Semaphore>,
}

impl Server {
    pub fn new(door: Arc<Door>, threads: usize) -> Result<Server, WireError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("kubecore-wire")
            .enable_all()
            .build()
            .map_err(WireError::Runtime)?;
        let (phase, _) = watch::channel(Phase::Serving);
        Ok(Server {
            door,
            runtime: Mutex::new(Some(runtime)),
            phase,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// Serves HTTPS; gives the port.
    pub fn listen(&self, address: &str, port: u16, tls: Tls) -> Result<u16, WireError> {
        self.bind_and_accept(address, port, Arc::new(Entrance::Tls(tls)))
    }

    /// Serves HTTPS on a socket that listens already: one of another network namespace, or one that a supervisor passed on.
    pub fn listen_on(&self, listener: StdListener, tls: Tls) -> Result<u16, WireError> {
        self.accept_on(listener, Arc::new(Entrance::Tls(tls)))
            .map_err(|source| WireError::Listen {
                address: "the socket given".to_owned(),
                source,
            })
    }

    /// Serves plain HTTP on loopback; every request is `identity`.
    pub fn listen_plain(&self, address: &str, port: u16, identity: &str) -> Result<u16, WireError> {
        let loopback = address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
        if !loopback {
            return Err(WireError::NotLoopback(address.to_owned()));
        }
        self.bind_and_accept(
            address,
            port,
            Arc::new(Entrance::Plain(Bytes::copy_from_slice(identity.as_bytes()))),
        )
    }

    fn bind_and_accept(
        &self,
        address: &str,
        port: u16,
        entrance: Arc<Entrance>,
    ) -> Result<u16, WireError> {
        StdListener::bind((address, port))
            .and_then(|listener| self.accept_on(listener, entrance))
            .map_err(|source| WireError::Listen {
                address: format!("{address}:{port}"),
                source,
            })
    }

    fn accept_on(&self, listener: StdListener, entrance: Arc<Entrance>) -> std::io::Result<u16> {
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?.port();
        let runtime = self.runtime.lock();
        let Some(runtime) = runtime.as_ref() else {
            return Err(std::io::ErrorKind::NotConnected.into());
        };
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let hall = Hall {
            door: self.door.clone(),
            entrance,
            phase: self.phase.subscribe(),
            connections: self.connections.clone(),
        };
        runtime.spawn(hall.accept(listener));
        Ok(bound)
    }

    /// Stops accepting, says GOAWAY, ends watches and waits for what is in flight, at most `limit`. Blocks.
    pub fn drain(&self, limit: Duration) {
        self.phase.send_replace(Phase::Draining);
        let connections = self.connections.clone();
        let runtime = self.runtime.lock();
        if let Some(runtime) = runtime.as_ref() {
            let all = connections.acquire_many_owned(CONNECTIONS_MAX as u32);
            // Past the limit, what is left is cut by `close`.
            let _ = runtime.block_on(async { timeout(limit, all).await });
        }
    }

    pub fn close(&self) {
        self.phase.send_replace(Phase::Draining);
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

enum Entrance {
    Tls(Tls),
    Plain(Bytes),
}

/// Counts a connection for as long as its task lives, whichever way that ends.
struct Connected(Arc<Door>);

impl Connected {
    fn new(door: Arc<Door>) -> Self {
        door.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Connected(door)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every accepted connection is given.
#[derive(Clone)]
struct Hall {
    door: Arc<Door>,
    entrance: Arc<Entrance>,
    phase: watch::Receiver<Phase>,
    connections: Arc<Semaphore>,
}

impl Hall {
    async fn accept(self, listener: TcpListener) {
        let mut phase = self.phase.clone();
        loop {
            let Ok(permit) = self.connections.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let hall = self.clone();
                    tokio::spawn(async move {
                        let _counted = Connected::new(hall.door.clone());
                        hall.connect(stream, remote).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            }
        }
    }

    /// One connection from handshake to end. A client that fails the handshake is simply gone.
    async fn connect(&self, stream: TcpStream, remote: SocketAddr) {
        // Without it small answers wait for acknowledgements; a socket that refuses still works.
        let _ = stream.set_nodelay(true);
        let stream = CutSlowWriter::new(stream, self.door.clone());
        let patient = stream.patient();
        let caller = |peer| Caller {
            peer,
            remote_address: remote.to_string(),
            phase: self.phase.clone(),
            patient: patient.clone(),
        };
        match &*self.entrance {
            Entrance::Plain(identity) => {
                let caller = caller(Peer::Named(identity.clone()));
                self.serve(stream, caller, None).await
            }
            Entrance::Tls(tls) => {
                let handshake = TlsAcceptor::from(tls.config.clone()).accept(stream);
                let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, handshake).await else {
                    return;
                };
                let session = stream.get_ref().1;
                let peer = tls.peer(session.peer_certificates());
                let http2 = session.alpn_protocol() == Some(b"h2");
                self.serve(stream, caller(peer), Some(http2)).await;
            }
        }
    }

    async fn serve<S>(&self, stream: S, caller: Caller, http2: Option<bool>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service =
            service_fn(|request| serve::handle(self.door.clone(), caller.clone(), request));
        let builder = builder(http2);
        let mut connection =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut phase = self.phase.clone();
        tokio::select! {
            // How a connection ends is the client's affair.
            _ = connection.as_mut() => return,
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// `http2`: what ALPN settled; None if the first bytes decide.
fn builder(http2: Option<bool>) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADERS_SIZE_MAX_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_frame_size(FRAME_SIZE_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADERS_SIZE_MAX_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    match http2 {
        Some(true) => builder.http2_only(),
        Some(false) => builder.http1_only(),
        None => builder,
    }
}
