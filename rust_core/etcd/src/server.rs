//! The door: a listener, its TLS, and one task per connection.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;

use crate::Etcd;
use crate::service;

/// More wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 10_000;
/// Calls at once on one connection; the client waits. Go's clients put all of theirs on one.
const STREAMS_MAX: u32 = 1_000;
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A client that answers no ping is gone.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_MAX: Duration = Duration::from_secs(20);
/// What a connection may send before somebody reads it.
const WINDOW_BYTES: u32 = 4 << 20;

/// Certificates and keys in PEM. With `client_ca`, only clients with a certificate from it are let in.
pub struct Tls {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    pub client_ca: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("listening on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the certificate, key or client CA of etcd's door: {0}")]
    Tls(String),
}

/// A door that answers until it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Binds, and serves on the current tokio runtime. Without TLS only a loopback address is taken: whoever comes in may read and
    /// write everything.
    pub async fn start(
        etcd: Arc<Etcd>,
        address: SocketAddr,
        tls: Option<Tls>,
    ) -> Result<Server, ServerError> {
        let refused = |source| ServerError::Listen { address, source };
        if tls.is_none() && !address.ip().is_loopback() {
            let source = std::io::Error::other("without TLS only loopback is served");
            return Err(refused(source));
        }
        let acceptor = tls.map(acceptor).transpose()?;
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(until(stopped.clone(), {
            let etcd = etcd.clone();
            async move { etcd.expire_leases().await }
        }));
        tokio::spawn(until(
            stopped.clone(),
            accept(etcd, listener, acceptor, stopped),
        ));
        Ok(Server { address, stop })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn until(mut stopped: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        // An error means that the server is gone, which is the same.
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

fn acceptor(tls: Tls) -> Result<TlsAcceptor, ServerError> {
    let wrong = |error: &dyn std::fmt::Display| ServerError::Tls(error.to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&tls.certificate).collect();
    let chain = chain.map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key).map_err(|error| wrong(&error))?;
    let mut roots = rustls::RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(&tls.client_ca) {
        let ca = ca.map_err(|error| wrong(&error))?;
        roots.add(ca).map_err(|error| wrong(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(|error| wrong(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    etcd: Arc<Etcd>,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a connection that was gone already: others may come.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (etcd, acceptor) = (etcd.clone(), acceptor.clone());
        tokio::spawn(until(stopped.clone(), async move {
            let _place = place;
            connect(etcd, stream, acceptor).await;
        }));
    }
}

async fn connect(etcd: Arc<Etcd>, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    // Small answers must not wait for more; a socket that refuses is slower, nothing else.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => serve(etcd, TokioIo::new(stream)).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                serve(etcd, TokioIo::new(stream)).await;
            }
        }
    }
}

async fn serve(etcd: Arc<Etcd>, io: impl Read + Write + Unpin) {
    let service = service_fn(move |request: Request<Incoming>| {
        service::call(etcd.clone(), request.map(Body::new))
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_MAX)
        .serve_connection(io, service);
    // How a connection ends is the client's business.
    let _ = served.await;
}
