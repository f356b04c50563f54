//! A connection that is given up when nothing moves on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What is going on on a connection, as far as its bytes do not show it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The first request has arrived.
    opened: AtomicBool,
    /// So many requests are held until mail comes.
    held: AtomicUsize,
}

/// A request that is held: its connection is not idle. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Held(Arc<Activity>);

impl Activity {
    pub(super) fn request_arrived(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    pub(super) fn hold(self: Arc<Self>) -> Held {
        self.held.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream with two limits: the time until the first request has arrived whole (whatever the bytes are that come until
/// then, a TLS handshake or half a header), and afterwards the time in which no byte moves.
///
/// hyper has a limit of its own for the headers of HTTP/1, but none for a connection that has not yet shown its protocol,
/// for an idle one of HTTP/2, or for a client that takes no answer.
pub(super) struct Watched<S> {
    inner: S,
    activity: Arc<Activity>,
    /// Whether a byte has moved since the timer was set; the timer itself is not touched for each byte.
    moved: bool,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    /// `inner` with at most `opening` until the first request has arrived; after that time between one and two times `idle`
    /// without a byte, unless a request is held.
    pub(super) fn new(inner: S, activity: Arc<Activity>, opening: Duration, idle: Duration) -> Self {
        Self { inner, activity, moved: false, idle, timer: Box::pin(tokio::time::sleep(opening)) }
    }

    /// Passes on what the stream says, unless it has nothing to say and its time is over.
    fn within_time<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.moved = true;
            return polled;
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let is_held = self.activity.held.load(Ordering::Relaxed) > 0;
            if !(self.moved || is_held) || !self.activity.opened.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.moved = false;
            self.timer.as_mut().reset(Instant::now() + self.idle);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.within_time(cx, polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.within_time(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.within_time(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
