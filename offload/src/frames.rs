//! Frames over a stream of bytes.

use crate::wire::{HEADER_BYTES, Header, MessageSet, WireError, decode, encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why no message came, or none could be sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed or ended within a frame.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The bytes are no frame.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Reads messages from a stream, counting bytes.
pub struct FrameReader<R> {
    stream: R,
    body: Vec<u8>,
    bytes: u64,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that has read nothing.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            body: Vec::new(),
            bytes: 0,
        }
    }

    /// The next message; `None` where the stream ends between two. Not to be
    /// given up half-way: what was read of a frame is lost then.
    pub async fn read<M: MessageSet>(&mut self) -> Result<Option<M>, FrameError> {
        let mut header = [0; HEADER_BYTES];
        let first = self.stream.read(&mut header).await?;
        if first == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut header[first..]).await?;
        let header = Header::parse(header)?;
        // At most the limit that the header was held against.
        self.body.resize(header.body_bytes as usize, 0);
        self.stream.read_exact(&mut self.body).await?;
        self.bytes += (HEADER_BYTES + self.body.len()) as u64;
        Ok(Some(decode(header, &self.body)?))
    }

    /// Bytes of all frames so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Writes messages to a stream, counting bytes.
pub struct FrameWriter<W> {
    stream: W,
    bytes: u64,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer that has written nothing.
    pub fn new(stream: W) -> Self {
        Self { stream, bytes: 0 }
    }

    /// Writes a message, and has it sent.
    pub async fn write<M: MessageSet>(&mut self, message: &M) -> Result<(), FrameError> {
        let frame = encode(message)?;
        self.stream.write_all(&frame).await?;
        self.stream.flush().await?;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    /// Bytes of all frames so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
