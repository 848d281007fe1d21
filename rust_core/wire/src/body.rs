//! Bodies of answers: whole, a list in segments, a watch that goes on, or what somebody else says.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::sync::Arc;
use tokio::sync::watch;

use crate::door::{Door, PendingWatch};
use crate::forward::ForwardedBody;
use crate::list::List;
use crate::list_body::ListBody;
use crate::listener::Phase;
use crate::watch_body::WatchBody;

pub enum WireBody {
    Full(Option<Bytes>),
    List(ListBody),
    Watch(Pin<Box<WatchBody>>),
    Forwarded(ForwardedBody),
}

impl WireBody {
    pub fn full(body: Bytes) -> Self {
        WireBody::Full(Some(body).filter(|body| !body.is_empty()))
    }

    pub fn list(list: Box<List>, door: Arc<Door>, pretty: bool) -> Self {
        WireBody::List(ListBody::new(list, door, pretty))
    }

    pub fn watch(watch: Box<PendingWatch>, door: Arc<Door>, phase: watch::Receiver<Phase>) -> Self {
        WireBody::Watch(Box::pin(WatchBody::new(*watch, door, phase)))
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match &mut *self {
            WireBody::Full(body) => body.take().map(Ok),
            WireBody::List(list) => list.segment(),
            WireBody::Watch(watch) => match watch.as_mut().poll_segment(context) {
                Poll::Ready(segment) => segment.map(Ok),
                Poll::Pending => return Poll::Pending,
            },
            WireBody::Forwarded(body) => return body.poll_frame(context),
        };
        Poll::Ready(frame.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            WireBody::Full(body) => body.is_none(),
            WireBody::Forwarded(body) => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            WireBody::Full(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            WireBody::Forwarded(body) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
