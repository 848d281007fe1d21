//! From a gRPC method's path to its handler: one table.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use http::{Request, Response};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::Etcd;
use crate::failure::Failure;
use crate::messages::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, Empty, HashKvRequest, LeaseGrantRequest,
    LeaseId, LeaseKeepAliveResponse, LeaseTimeToLiveRequest, PutRequest, RangeRequest, TxnRequest,
    WatchRequest, WatchResponse,
};
use crate::watch::WatchStream;

/// Responses of a stream that wait for a slow client; at the bound its stream waits.
const RESPONSES_MAX: usize = 16;
/// etcd's limit for a request and some room for what is around it. At the bound: OutOfRange, in gRPC's own words.
const REQUEST_BYTES_MAX: usize = 2 << 20;

/// Answers one call. Whatever goes wrong is in the answer, as gRPC has it.
pub async fn call(etcd: Arc<Etcd>, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let call = Call { etcd, request };
    Ok(match method.as_str() {
        "etcdserverpb.KV/Range" => call.unary(range).await,
        "etcdserverpb.KV/Put" => call.unary(put).await,
        "etcdserverpb.KV/DeleteRange" => call.unary(delete_range).await,
        "etcdserverpb.KV/Txn" => call.unary(txn).await,
        "etcdserverpb.KV/Compact" => call.unary(compact).await,
        "etcdserverpb.Watch/Watch" => call.streaming(watch).await,
        "etcdserverpb.Lease/LeaseGrant" => call.unary(grant).await,
        "etcdserverpb.Lease/LeaseRevoke" => call.unary(revoke).await,
        "etcdserverpb.Lease/LeaseKeepAlive" => call.streaming(keep_alive).await,
        "etcdserverpb.Lease/LeaseTimeToLive" => call.unary(time_to_live).await,
        "etcdserverpb.Lease/LeaseLeases" => call.unary(leases).await,
        "etcdserverpb.Maintenance/Status" => call.unary(status).await,
        "etcdserverpb.Maintenance/Alarm" => call.unary(alarm).await,
        "etcdserverpb.Maintenance/Defragment" => call.unary(defragment).await,
        "etcdserverpb.Maintenance/HashKV" => call.unary(hash_kv).await,
        "etcdserverpb.Maintenance/Snapshot" => call.server_streaming(snapshot).await,
        "etcdserverpb.Cluster/MemberList" => call.unary(members).await,
        _ => Status::unimplemented(format!("kubecore has no method {method}")).into_http(),
    })
}

// ── the handlers, all of one shape ──

macro_rules! handlers {
    ($($name:ident($etcd:ident, $ask:ident: $kind:ty) -> $answer:ident = $body:expr;)*) => {
        $(async fn $name(
            $etcd: Arc<Etcd>,
            $ask: $kind,
        ) -> Result<crate::messages::$answer, Failure> {
            $body
        })*
    };
}

handlers! {
    range(etcd, ask: RangeRequest) -> RangeResponse = etcd.range(ask).await;
    put(etcd, ask: PutRequest) -> PutResponse = etcd.put(ask).await;
    delete_range(etcd, ask: DeleteRangeRequest) -> DeleteRangeResponse = etcd.delete_range(ask).await;
    txn(etcd, ask: TxnRequest) -> TxnResponse = etcd.txn(ask).await;
    compact(etcd, ask: CompactionRequest) -> OnlyHeader = etcd.compact(ask).await;
    grant(etcd, ask: LeaseGrantRequest) -> LeaseGrantResponse = etcd.grant(ask).await;
    revoke(etcd, ask: LeaseId) -> OnlyHeader = etcd.revoke(ask).await;
    time_to_live(etcd, ask: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse = Ok(etcd.time_to_live(ask));
    leases(etcd, _ask: Empty) -> LeaseLeasesResponse = Ok(etcd.lease_ids());
    status(etcd, _ask: Empty) -> StatusResponse = Ok(etcd.status());
    alarm(etcd, ask: AlarmRequest) -> AlarmResponse = Ok(etcd.alarm(&ask));
    defragment(etcd, _ask: Empty) -> OnlyHeader = etcd.defragment().await;
    hash_kv(etcd, ask: HashKvRequest) -> HashKvResponse = etcd.hash_kv(&ask);
    members(etcd, _ask: Empty) -> MemberListResponse = Ok(etcd.members());
}

fn snapshot(
    etcd: Arc<Etcd>,
    _ask: Empty,
) -> mpsc::Receiver<Result<crate::messages::SnapshotResponse, Status>> {
    etcd.snapshot()
}

async fn watch(
    etcd: Arc<Etcd>,
    requests: Streaming<WatchRequest>,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
) {
    WatchStream::new(etcd, responses).run(requests).await;
}

/// Renews leases as their ids come, until the client leaves by either direction.
async fn keep_alive(
    etcd: Arc<Etcd>,
    mut requests: Streaming<LeaseId>,
    responses: mpsc::Sender<Result<LeaseKeepAliveResponse, Status>>,
) {
    while let Ok(Some(request)) = requests.message().await {
        if responses.send(Ok(etcd.keep_alive(request))).await.is_err() {
            return;
        }
    }
}

// ── the three shapes of a call ──

struct Call {
    etcd: Arc<Etcd>,
    request: Request<Body>,
}

impl Call {
    async fn unary<Ask, Answer, Work>(
        self,
        handler: impl Fn(Arc<Etcd>, Ask) -> Work,
    ) -> Response<Body>
    where
        Ask: Message + Default + 'static,
        Answer: Message + Default + 'static,
        Work: Future<Output = Result<Answer, Failure>>,
    {
        let etcd = self.etcd;
        let service = service_fn(move |request: tonic::Request<Ask>| {
            let work = handler(etcd.clone(), request.into_inner());
            async move { Ok::<_, Status>(tonic::Response::new(work.await?)) }
        });
        grpc::<Ask, Answer>().unary(service, self.request).await
    }

    async fn server_streaming<Ask, Answer>(
        self,
        handler: impl Fn(Arc<Etcd>, Ask) -> mpsc::Receiver<Result<Answer, Status>>,
    ) -> Response<Body>
    where
        Ask: Message + Default + 'static,
        Answer: Message + Default + 'static,
    {
        let etcd = self.etcd;
        let service = service_fn(move |request: tonic::Request<Ask>| {
            let answers = handler(etcd.clone(), request.into_inner());
            async move { Ok::<_, Status>(tonic::Response::new(ReceiverStream::new(answers))) }
        });
        grpc::<Ask, Answer>()
            .server_streaming(service, self.request)
            .await
    }

    /// The handler is a task of its own: it ends when the client leaves, and the stream ends with it.
    async fn streaming<Ask, Answer, Work>(
        self,
        handler: impl Fn(Arc<Etcd>, Streaming<Ask>, mpsc::Sender<Result<Answer, Status>>) -> Work + Send,
    ) -> Response<Body>
    where
        Ask: Message + Default + 'static,
        Answer: Message + Default + 'static,
        Work: Future<Output = ()> + Send + 'static,
    {
        let etcd = self.etcd;
        let service = service_fn(move |request: tonic::Request<Streaming<Ask>>| {
            let (sender, answers) = mpsc::channel(RESPONSES_MAX);
            tokio::spawn(handler(etcd.clone(), request.into_inner(), sender));
            async move { Ok::<_, Status>(tonic::Response::new(ReceiverStream::new(answers))) }
        });
        grpc::<Ask, Answer>().streaming(service, self.request).await
    }
}

fn grpc<Ask, Answer>() -> Grpc<ProstCodec<Answer, Ask>>
where
    Ask: Message + Default + 'static,
    Answer: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(usize::MAX)
}
