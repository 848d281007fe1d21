//! A request that somebody else answers: a kubelet, a pod, a service. Python has decided where it goes, dials, and pumps bytes; here
//! the request is sent on Python's socket, the answer is streamed back, and after a 101 bytes are copied both ways.
//!
//! ```text
//! client ⇄ hyper server ⇄ this file ⇄ hyper client ⇄ one end of a socket pair ⇄ Python: dial, TLS, pump ⇄ kubelet
//! ```
//!
//! It lives as long as both ends do: a client that leaves drops the body or the copy, which closes the pair, which ends the kubelet's
//! side. Bounds: `COPY_BUFFER_BYTES` each way, `DRAIN_GRACE` after the server begins to end. How many there may be, Python says.

use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, LOCATION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, BufReader, copy_buf, split};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::body::WireBody;
use crate::door::Door;
use crate::listener::Phase;
use crate::reply::JSON;
use crate::status::Status;

const COPY_BUFFER_BYTES: usize = 64 << 10;
/// What is nearly done may finish; a followed log would go on for ever.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Of a failure's text, this much is told.
const FAILURE_SIZE_MAX_BYTES: usize = 50_000;
/// Headers that belong to one connection and not to the request (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Python's decision: where a request goes, and how it reads there.
#[derive(Debug)]
pub struct Forward {
    /// The wire's end of the pair. Dropping it ends Python's side.
    pub stream: StdUnixStream,
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    /// As they are sent; `connection` and `upgrade` are added where the client asked for an upgrade.
    pub headers: HeaderMap,
    /// For what is shown below a path of ours: answers are made to fit there.
    pub mount: Option<Mount>,
    /// (resource, name) if an answer of failure is text, to be made a Status.
    pub errors_of: Option<(String, String)>,
    /// Nobody may see what this leads to before that revision is durable.
    pub revision: u64,
}

/// Where another server's pages appear on this one.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Put before the absolute paths of redirects.
    pub path: String,
    /// The server's own `host:port`.
    pub host: String,
}

/// What the client still sends: nothing more than was read, or as it comes.
pub type SentBody = Either<Full<Bytes>, Incoming>;

/// What a forwarded request has of its client.
pub struct Client {
    pub body: SentBody,
    /// Of a client that asks for another protocol.
    pub upgrade: Option<(OnUpgrade, HeaderValue)>,
    /// The Host header.
    pub host: String,
}

/// Sends the request and gives the answer's head as soon as it is there; the rest follows by itself.
pub async fn send(
    forward: Forward,
    client: Client,
    door: Arc<Door>,
    phase: watch::Receiver<Phase>,
) -> Response<WireBody> {
    match exchange(forward, client, door, phase).await {
        Ok(response) => response,
        Err(error) => {
            let text = format!("error trying to reach service: {error}");
            refused(Status::new(503, "ServiceUnavailable", text))
        }
    }
}

fn refused(status: Status) -> Response<WireBody> {
    let mut response = Response::new(WireBody::full(status.to_json()));
    *response.status_mut() =
        StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

async fn exchange(
    forward: Forward,
    client: Client,
    door: Arc<Door>,
    phase: watch::Receiver<Phase>,
) -> Result<Response<WireBody>, Box<dyn std::error::Error + Send + Sync>> {
    forward.stream.set_nonblocking(true)?;
    let stream = TokioIo::new(UnixStream::from_std(forward.stream)?);
    let (mut sender, connection) = http1::Builder::new().handshake(stream).await?;
    let driver = Driver(tokio::spawn(async move {
        // How it ends is seen by whoever reads the answer.
        let _ = connection.with_upgrades().await;
    }));
    let mut request = http::Request::new(client.body);
    *request.method_mut() = forward.method;
    *request.uri_mut() = forward.target;
    *request.headers_mut() = forward.headers;
    let host = HeaderValue::try_from(&client.host)?;
    request.headers_mut().entry(HOST).or_insert(host);
    if let Some((_, protocol)) = &client.upgrade {
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    let mut response = sender.send_request(request).await?;
    let open = Open::new(door);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some((near, _)) = client.upgrade else {
            return Err("the backend switched protocols unasked".into());
        };
        let far = hyper::upgrade::on(&mut response);
        let (parts, _) = response.into_parts();
        tokio::spawn(join(near, far, driver, open, phase));
        return Ok(Response::from_parts(parts, WireBody::full(Bytes::new())));
    }
    let (mut parts, incoming) = response.into_parts();
    if let Some((resource, name)) = &forward.errors_of
        && !(200..=206).contains(&parts.status.as_u16())
        // Python's own refusal is a Status already.
        && parts.headers.get(CONTENT_TYPE).is_none_or(|kind| kind != JSON)
    {
        let text = Limited::new(incoming, FAILURE_SIZE_MAX_BYTES)
            .collect()
            .await?;
        let text = String::from_utf8_lossy(&text.to_bytes()).into_owned();
        let status = Status::of_server(parts.status.as_u16(), resource, name, &text);
        return Ok(refused(status));
    }
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    if let Some(mount) = &forward.mount {
        fit(&mut parts.headers, mount, &client.host);
    }
    let ended = ended(phase);
    let body = ForwardedBody {
        incoming,
        ended: Box::pin(ended),
        _driver: driver,
        _open: open,
    };
    Ok(Response::from_parts(parts, WireBody::Forwarded(body)))
}

/// Both sides have agreed on another protocol: bytes go both ways until one side has said all, or the server ends.
async fn join(
    near: OnUpgrade,
    far: OnUpgrade,
    driver: Driver,
    open: Open,
    phase: watch::Receiver<Phase>,
) {
    let copied = async {
        let (near, far) = tokio::try_join!(near, far)?;
        copy_both(near, far).await;
        Ok::<(), hyper::Error>(())
    };
    tokio::select! {
        // A side that broke off is as good as one that ended.
        _ = copied => {}
        () = ended(phase) => {}
    }
    drop((driver, open));
}

async fn copy_both(near: Upgraded, far: Upgraded) {
    let (near_in, mut near_out) = split(TokioIo::new(near));
    let (far_in, mut far_out) = split(TokioIo::new(far));
    let mut near_in = BufReader::with_capacity(COPY_BUFFER_BYTES, near_in);
    let mut far_in = BufReader::with_capacity(COPY_BUFFER_BYTES, far_in);
    // Protocols here end inside themselves, so either side's end is the end; what it sent before has been passed on.
    tokio::select! {
        _ = copy_buf(&mut near_in, &mut far_out) => {}
        _ = copy_buf(&mut far_in, &mut near_out) => {}
    }
    let _ = tokio::join!(near_out.shutdown(), far_out.shutdown());
}

/// The server has begun to end, and the grace is over.
async fn ended(mut phase: watch::Receiver<Phase>) {
    // A sender that is gone is an end too.
    let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
    tokio::time::sleep(DRAIN_GRACE).await;
}

/// Makes an answer fit below a path of ours: redirects stay below it, and other origins get no say through it.
fn fit(headers: &mut HeaderMap, mount: &Mount, asked_host: &str) {
    let cors: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in cors {
        headers.remove(name);
    }
    let moved = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|location| below(location, mount, asked_host))
        .and_then(|location| HeaderValue::try_from(location).ok());
    if let Some(location) = moved {
        headers.insert(LOCATION, location);
    }
}

/// The same place as seen from outside; None if it needs no change: another host's, a relative one, or below the mount already.
fn below(location: &str, mount: &Mount, asked_host: &str) -> Option<String> {
    let (host, path) = match location.split_once("://") {
        Some((_, rest)) => {
            let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            rest.split_at(at)
        }
        None => ("", location),
    };
    if !path.starts_with('/') || path.starts_with("//") {
        return None;
    }
    if !host.is_empty() && host != mount.host && host != asked_host {
        return None;
    }
    if path.starts_with(&mount.path) {
        // Its own host would lead past us.
        return (host == mount.host).then(|| path.to_owned());
    }
    let prefix = mount.path.trim_end_matches('/');
    if host.is_empty() || host == mount.host {
        return Some(format!("{prefix}{path}"));
    }
    let scheme = location.split("://").next().unwrap_or("https");
    Some(format!("{scheme}://{host}{prefix}{path}"))
}

/// The protocol that a client asks to switch to, and the promise of its connection.
pub fn upgrade_of(request: &mut http::Request<Incoming>) -> Option<(OnUpgrade, HeaderValue)> {
    let headers = request.headers();
    let asks = headers.get_all(CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
        })
    });
    let protocol = headers.get(UPGRADE).filter(|_| asks)?.clone();
    Some((hyper::upgrade::on(request), protocol))
}

/// The host that a client asked for: its header, or HTTP/2's authority.
pub fn host_of(headers: &HeaderMap, uri: &Uri) -> String {
    headers
        .get(HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| uri.authority().map(|authority| authority.as_str()))
        .unwrap_or("")
        .to_owned()
}

/// Ends the pair's connection with whoever needs it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts a forwarded request for as long as it is open.
struct Open(Arc<Door>);

impl Open {
    fn new(door: Arc<Door>) -> Open {
        door.metrics.forwards.fetch_add(1, Ordering::Relaxed);
        Open(door)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.forwards.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that comes from elsewhere, as it comes.
pub struct ForwardedBody {
    incoming: Incoming,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    _driver: Driver,
    _open: Open,
}

impl ForwardedBody {
    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|read| read.map_err(io::Error::other))),
            Poll::Pending if self.ended.as_mut().poll(context).is_ready() => {
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount() -> Mount {
        Mount {
            path: "/api/v1/namespaces/a/pods/p/proxy".to_owned(),
            host: "10.0.0.5:80".to_owned(),
        }
    }

    #[test]
    fn redirects_stay_below_the_mount() {
        let to = |location| below(location, &mount(), "api:6443");
        let here = |rest: &str| Some(format!("{}{rest}", mount().path));
        assert_eq!(to("/login?next=%2F"), here("/login?next=%2F"));
        assert_eq!(to("http://10.0.0.5:80/login/"), here("/login/"));
        assert_eq!(
            to("https://api:6443/x"),
            Some(format!("https://api:6443{}/x", mount().path))
        );
        assert_eq!(to("http://elsewhere/login"), None);
        assert_eq!(to("//elsewhere/login"), None);
        assert_eq!(to("login"), None);
        assert_eq!(to("/api/v1/namespaces/a/pods/p/proxy/there"), None);
        assert_eq!(to("http://10.0.0.5:80"), None);
    }

    #[test]
    fn other_origins_get_no_say_through_us() {
        let mut headers = HeaderMap::new();
        headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        headers.insert("x-kept", HeaderValue::from_static("1"));
        fit(&mut headers, &mount(), "");
        assert_eq!(headers.len(), 1);
    }
}
