//! One HTTP request: its credential and body are read, the door decides or Python is asked, and the answer is written.
//!
//! Bounds: a body of `BODY_SIZE_MAX_BYTES` (413; of the rest, `DRAINED_SIZE_MAX_BYTES` are thrown away), a request that is no watch of `REQUEST_TIMEOUT` (504).
//! What is forwarded has neither: its body goes on as it comes, and its answer takes as long as it takes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    SEC_WEBSOCKET_PROTOCOL, WARNING,
};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::audit_id;
use crate::body::WireBody;
use crate::door::{Begun, Door, Served};
use crate::forward::{self, Client};
use crate::handover::{Refused, Settlement};
use crate::listener::Phase;
use crate::pretty;
use crate::reply::{JSON, Reply};
use crate::request::{Credential, Request};
use crate::status::Status;
use crate::tls::Peer;

pub const BODY_SIZE_MAX_BYTES: usize = 3 << 20;
/// Most clients read no answer before they have sent their whole body, and would see a broken connection instead of the 413.
const DRAINED_SIZE_MAX_BYTES: usize = 32 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// How a browser, which cannot set headers, brings its token with a WebSocket.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// One connection, as its requests need it.
#[derive(Clone)]
pub struct Caller {
    pub peer: Peer,
    pub remote_address: String,
    pub phase: watch::Receiver<Phase>,
    /// Set once the peer may read as slowly as it likes.
    pub patient: Arc<AtomicBool>,
}

pub async fn handle(
    door: Arc<Door>,
    caller: Caller,
    mut request: http::Request<Incoming>,
) -> Result<Response<WireBody>, Infallible> {
    let started = Instant::now();
    let upgrade = forward::upgrade_of(&mut request);
    let (parts, incoming) = request.into_parts();
    let (host, version) = (forward::host_of(&parts.headers, &parts.uri), parts.version);
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let credential = credential(&caller.peer, &parts.headers);
    let known = credential.clone().unwrap_or(Credential::None);
    let remote_address = caller.remote_address;
    let mut request = Request::new(parts.method, target, parts.headers, known, remote_address);
    let audit_id = request
        .headers
        .get(AUDIT_ID)
        .cloned()
        .unwrap_or_else(audit_id::fresh);
    let _counted = InFlight::new(&door, &request);
    let deadline = started + REQUEST_TIMEOUT;
    let mut unread = None;
    let refused = match credential {
        None => Some(Status::unauthorized()),
        // Its body is not ours to read.
        Some(_) if request.info.is_resource && request.info.subresource == "proxy" => {
            unread = Some(incoming);
            None
        }
        Some(_) => match timeout_at(deadline, read_body(incoming, &request)).await {
            Ok(Ok(body)) => {
                request.body = body;
                None
            }
            Ok(Err(status)) => Some(status),
            Err(_) => Some(Status::timeout()),
        },
    };
    let request = Arc::new(request);
    let served = match refused {
        Some(status) => Served::Reply(status.into_reply()),
        None => timeout_at(deadline, answer(&door, &request))
            .await
            .unwrap_or_else(|_| Served::Reply(Status::timeout().into_reply())),
    };
    let pretty = pretty::wanted(&request);
    let mut response = match served {
        Served::Reply(mut reply) => {
            if pretty && &*reply.content_type == JSON && !reply.body.is_empty() {
                reply.body = pretty::whole(&reply.body);
            }
            write(reply, audit_id)
        }
        Served::List(list) => streamed(WireBody::list(list, door.clone(), pretty), audit_id),
        Served::Watch(watch) => {
            streamed(WireBody::watch(watch, door.clone(), caller.phase), audit_id)
        }
        Served::Forward(forward) => {
            if version < Version::HTTP_2 {
                caller.patient.store(true, Ordering::Relaxed);
            }
            let client = Client {
                body: match unread.take() {
                    Some(incoming) => Either::Right(incoming),
                    None => Either::Left(Full::new(request.body.clone())),
                },
                upgrade,
                host,
            };
            let sent = forward::send(*forward, client, door.clone(), caller.phase).await;
            told(sent, audit_id)
        }
    };
    if let Some(warning) = door.warning(&request) {
        response.headers_mut().append(WARNING, warning);
    }
    door.count(&request, response.status().as_u16(), started.elapsed());
    Ok(response)
}

/// Decided here if it can be, else by Python.
async fn answer(door: &Arc<Door>, request: &Arc<Request>) -> Served {
    let wants = match door.begin(request) {
        Begun::Served(served) => return served,
        Begun::Ask(wants) => wants,
    };
    let settled = match door.ask(request.clone(), wants) {
        Ok(settled) => settled.await,
        Err(Refused::Full) => return Served::Reply(Status::too_many_requests().into_reply()),
        Err(Refused::Closed) => return Served::Reply(Status::shutting_down().into_reply()),
    };
    match settled {
        Ok(Settlement::Answer(reply)) => Served::Reply(reply),
        Ok(Settlement::Allow(allow)) => door.allowed(request, &allow),
        Ok(Settlement::Forward(forward)) => Served::Forward(forward),
        Err(_) => Served::Reply(Status::shutting_down().into_reply()),
    }
}

/// Who asks: a certificate before a token, as upstream. None: a certificate of an unknown CA and nothing else.
fn credential(peer: &Peer, headers: &HeaderMap) -> Option<Credential> {
    let token = || {
        let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = text.trim().split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .then(|| Credential::Token(Bytes::copy_from_slice(token.as_bytes())))
    };
    let token = || token().or_else(|| protocol_token(headers));
    match peer {
        Peer::Named(identity) => Some(Credential::Local(identity.clone())),
        Peer::Verified(certificate) => Some(Credential::Certificate(certificate.clone())),
        Peer::Unverified => token(),
        Peer::None => Some(token().unwrap_or(Credential::None)),
    }
}

/// The token among a WebSocket's protocols, if there is one and another protocol beside it.
fn protocol_token(headers: &HeaderMap) -> Option<Credential> {
    headers.get(http::header::UPGRADE)?;
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let offered: Vec<&str> = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .collect();
    let mut tokens = offered
        .iter()
        .filter_map(|word| word.strip_prefix(TOKEN_PROTOCOL));
    let (encoded, none) = (tokens.next()?, tokens.next());
    if none.is_some() || offered.len() < 2 {
        return None;
    }
    let token = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let text = std::str::from_utf8(&token)
        .ok()
        .filter(|text| !text.is_empty())?;
    Some(Credential::Token(Bytes::copy_from_slice(text.as_bytes())))
}

async fn read_body(mut incoming: Incoming, request: &Request) -> Result<Bytes, Status> {
    if matches!(request.method, Method::GET | Method::HEAD) || incoming.is_end_stream() {
        return Ok(Bytes::new());
    }
    if incoming.size_hint().lower() > BODY_SIZE_MAX_BYTES as u64 {
        // Who waits for leave to send the body is told before it does.
        if request.header("expect").is_none() {
            tokio::spawn(timeout(DRAIN_TIMEOUT, drain(incoming)));
        }
        return Err(Status::too_large(BODY_SIZE_MAX_BYTES));
    }
    let mut whole = BytesMut::new();
    let mut first = Bytes::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| {
            Status::bad_request(format!("the request body cannot be read: {error}"))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + whole.len() + data.len() > BODY_SIZE_MAX_BYTES {
            tokio::spawn(timeout(DRAIN_TIMEOUT, drain(incoming)));
            return Err(Status::too_large(BODY_SIZE_MAX_BYTES));
        }
        // Most bodies are one frame, and stay where they are.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// Throws away what a client still sends, within a bound, while it is answered.
async fn drain(mut incoming: Incoming) {
    let mut drained = 0;
    while drained < DRAINED_SIZE_MAX_BYTES {
        match incoming.frame().await {
            Some(Ok(frame)) => drained += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}

fn write(reply: Reply, audit_id: HeaderValue) -> Response<WireBody> {
    let length = HeaderValue::from(reply.body.len());
    let mut response = Response::new(WireBody::full(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(AUDIT_ID, audit_id);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    for (name, value) in &reply.headers {
        // What is no header is not sent: Python checks its warnings before.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            if name == CACHE_CONTROL {
                headers.insert(name, value);
            } else {
                headers.append(name, value);
            }
        }
    }
    if let Ok(content_type) = HeaderValue::try_from(&*reply.content_type)
        && !reply.content_type.is_empty()
    {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if !matches!(reply.status, 204 | 304) {
        headers.insert(CONTENT_LENGTH, length);
    }
    response
}

fn streamed(body: WireBody, audit_id: HeaderValue) -> Response<WireBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(AUDIT_ID, audit_id);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Somebody else's answer, with what every answer of ours has.
fn told(mut response: Response<WireBody>, audit_id: HeaderValue) -> Response<WireBody> {
    let headers = response.headers_mut();
    headers.insert(AUDIT_ID, audit_id);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let headers = response.headers_mut();
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-cache, private"));
    }
    response
}

/// Counts a request among those in flight for as long as it lives, whichever way it ends.
struct InFlight {
    door: Arc<Door>,
    mutating: bool,
}

impl InFlight {
    fn new(door: &Arc<Door>, request: &Request) -> Self {
        let counted = InFlight {
            door: door.clone(),
            mutating: !matches!(request.info.verb.as_str(), "get" | "list" | "watch"),
        };
        counted.gauge().fetch_add(1, Ordering::Relaxed);
        counted
    }

    fn gauge(&self) -> &AtomicI64 {
        let metrics = &self.door.metrics;
        if self.mutating {
            &metrics.in_flight_mutating
        } else {
            &metrics.in_flight_reading
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge().fetch_sub(1, Ordering::Relaxed);
    }
}
