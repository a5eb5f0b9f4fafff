use super::network::{Network, Place};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit},
};
use std::{
    fmt,
    future::Future as _,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::time::{Sleep, sleep_until};

/// A socket of a [`Network`].
pub(super) struct Socket {
    network: Network,
    place: Place,
    arrival: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl Socket {
    pub(super) fn new(network: Network, place: Place) -> Self {
        Self {
            network,
            place,
            arrival: Mutex::default(),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.place.home)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.close(self.place);
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let length = transmit.segment_size.unwrap_or(transmit.contents.len());
        for contents in transmit.contents.chunks(length.max(1)) {
            let to = transmit.destination;
            let ecn = transmit.ecn.map(|e| e as u8);
            self.network.send(self.place, to, ecn, contents);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrival = self.arrival.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut received = 0;
            let next = loop {
                if received == buffers.len().min(metas.len()) {
                    return Poll::Ready(Ok(received));
                }
                let datagram = match self.network.receive(self.place, cx.waker()) {
                    Ok(datagram) => datagram,
                    Err(next) => break next,
                };
                let buffer = &mut buffers[received];
                let len = datagram.contents.len().min(buffer.len());
                buffer[..len].copy_from_slice(&datagram.contents[..len]);
                let meta = &mut metas[received];
                *meta = RecvMeta::default();
                meta.addr = datagram.from;
                meta.len = len;
                meta.stride = len;
                meta.ecn = datagram.ecn.and_then(EcnCodepoint::from_bits);
                received += 1;
            };
            if received > 0 {
                return Poll::Ready(Ok(received));
            }
            let Some(next) = next else {
                return Poll::Pending;
            };
            let sleep = arrival.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if sleep.deadline() != next {
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            *arrival = None;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.place.home)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
