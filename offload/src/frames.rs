//! Frames over a stream of bytes.

use crate::wire::{
    BODY_BYTES_MAX, HEADER_BYTES, Header, MessageSet, STATES_FIELDS_BYTES, STATES_HEADER_BYTES,
    StatesHeader, StatesShape, WireError, decode, encode,
};
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

/// What comes on a stream of states.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming<M> {
    /// A message.
    Message(M),
    /// Hidden states: what their header says, and their values as they came.
    States(StatesHeader, Vec<u8>),
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

    /// Bytes of all frames so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next message; `None` where the stream ends between two. Not to be
    /// given up half-way: what was read of a frame is lost then.
    pub async fn read<M: MessageSet>(&mut self) -> Result<Option<M>, FrameError> {
        let Some(header) = self.header().await? else {
            return Ok(None);
        };
        let header = Header::parse(header)?;
        Ok(Some(self.message(header).await?))
    }

    /// The same on a stream on which states of that shape come in frames of
    /// the kind `states`.
    pub async fn read_states<M: MessageSet>(
        &mut self,
        states: u8,
        shape: &StatesShape,
    ) -> Result<Option<Incoming<M>>, FrameError> {
        let Some(bytes) = self.header().await? else {
            return Ok(None);
        };
        if bytes[2] != states {
            let message = self.message(Header::parse(bytes)?).await?;
            return Ok(Some(Incoming::Message(message)));
        }
        let header = Header::parse_up_to(bytes, shape.body_bytes_max())?;
        let mut fields = [0; STATES_FIELDS_BYTES];
        self.stream.read_exact(&mut fields).await?;
        let states = StatesHeader::parse(&fields, header.body_bytes as usize, shape)?;
        let mut values = vec![0; usize::from(states.columns) * shape.column_bytes()];
        self.stream.read_exact(&mut values).await?;
        self.bytes += (STATES_HEADER_BYTES + values.len()) as u64;
        Ok(Some(Incoming::States(states, values)))
    }

    /// The bytes of a header; `None` where the stream ends before it.
    async fn header(&mut self) -> Result<Option<[u8; HEADER_BYTES]>, FrameError> {
        let mut header = [0; HEADER_BYTES];
        let first = self.stream.read(&mut header).await?;
        if first == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut header[first..]).await?;
        Ok(Some(header))
    }

    async fn message<M: MessageSet>(&mut self, header: Header) -> Result<M, FrameError> {
        debug_assert!(header.body_bytes <= BODY_BYTES_MAX);
        // At most the limit that the header was held against.
        self.body.resize(header.body_bytes as usize, 0);
        self.stream.read_exact(&mut self.body).await?;
        self.bytes += (HEADER_BYTES + self.body.len()) as u64;
        Ok(decode(header, &self.body)?)
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
        self.write_frame(&encode(message)?).await
    }

    /// Writes a whole frame, and has it sent.
    pub async fn write_frame(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        self.stream.write_all(frame).await?;
        self.stream.flush().await?;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    /// Bytes of all frames so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
