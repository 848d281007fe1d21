//! A socket that is cut when its peer has not taken a byte for `STALL_TIMEOUT`: a slow reader must not hold a list's snapshot.
//! What is forwarded holds nothing of ours, and may be read at its reader's pace: a log in a pager.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::door::Door;

pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

pub struct CutSlowWriter {
    stream: TcpStream,
    door: Arc<Door>,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
    patient: Arc<AtomicBool>,
}

impl CutSlowWriter {
    pub fn new(stream: TcpStream, door: Arc<Door>) -> Self {
        CutSlowWriter {
            stream,
            door,
            stalled: None,
            patient: Arc::default(),
        }
    }

    /// Set: the peer may take its time from here on.
    pub fn patient(&self) -> Arc<AtomicBool> {
        self.patient.clone()
    }

    /// Passes a finished write on; starts or asks the clock if it must wait.
    fn watch<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() || self.patient.load(Ordering::Relaxed) {
            self.stalled = None;
            return wrote;
        }
        let clock = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
        ready!(clock.as_mut().poll(context));
        self.door
            .metrics
            .slow_readers_cut
            .fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for CutSlowWriter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for CutSlowWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, from);
        self.watch(wrote, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, from);
        self.watch(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
