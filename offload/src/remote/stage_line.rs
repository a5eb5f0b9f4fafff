//! The stream of a split generation, as the edge sees it.

use super::{Connect, Remote, RemoteError};
use crate::{
    frames::{FrameReader, FrameWriter, Incoming},
    wire::{Goodbye, OpenStage, STATES_DOWN, Staged, StatesShape, ToEdge, ToNode, encode},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// Frames of a batch that wait to be sent.
pub(super) const FRAMES_MAX: usize = 16;

/// Frames of a node that wait to be looked at. Beyond, its stream is not read.
const INBOX: usize = 4;

/// Bytes of a frame that are sent at a time, so that a long one is seen to go.
const PIECE: usize = 16 << 10;

/// A stream on which a node computes layers. Its tasks end with it.
pub(super) struct StageLine {
    pub(super) staged: Staged,
    pub(super) shape: StatesShape,
    pub(super) frames: mpsc::Sender<Vec<u8>>,
    pub(super) inbox: mpsc::Receiver<Result<Incoming<ToEdge>, RemoteError>>,
    reader: JoinHandle<()>,
}

impl StageLine {
    /// Asks for layers, with states of that shape.
    pub(super) async fn open<C: Connect>(
        remote: &Remote<C>,
        open: OpenStage,
        shape: StatesShape,
    ) -> Result<Self, RemoteError> {
        let (read, write) = remote.stream().await?;
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let meter = remote.meter().clone();
        writer.write(&ToNode::OpenStage(open)).await?;
        meter.sent(writer.bytes());
        let answer = timeout(remote.silence(), reader.read::<ToEdge>()).await;
        let answer = answer.map_err(|_| RemoteError::Silent(remote.silence()))?;
        meter.received(reader.bytes());
        let staged = match answer?.ok_or(RemoteError::Closed)? {
            ToEdge::Staged(staged) => staged,
            ToEdge::Refused(refused) => return Err(RemoteError::Refused(refused)),
            _ => return Err(RemoteError::Protocol("no answer to `stage`")),
        };
        if staged.width as usize != shape.width {
            return Err(RemoteError::Protocol("hidden states of another width"));
        }
        let columns_max = (staged.columns_max as usize).min(shape.columns_max);
        if columns_max == 0 {
            return Err(RemoteError::Protocol("frames of no columns"));
        }
        let shape = StatesShape {
            columns_max,
            ..shape
        };
        let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(FRAMES_MAX);
        let sending = meter.clone();
        // Ends when the line is dropped and all is sent.
        tokio::spawn(async move {
            while let Some(frame) = waiting.recv().await {
                for piece in frame.chunks(PIECE) {
                    if writer.write_frame(piece).await.is_err() {
                        // The reader tells of it.
                        return;
                    }
                    sending.sent(piece.len() as u64);
                }
            }
        });
        let (sender, inbox) = mpsc::channel(INBOX);
        let reader = tokio::spawn(async move {
            loop {
                let before = reader.bytes();
                let read = reader.read_states(STATES_DOWN, &shape).await;
                meter.received(reader.bytes() - before);
                let heard = match read {
                    Ok(Some(heard)) => Ok(heard),
                    Ok(None) => Err(RemoteError::Closed),
                    Err(error) => Err(error.into()),
                };
                let last = heard.is_err();
                if sender.send(heard).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Self {
            staged,
            shape,
            frames,
            inbox,
            reader,
        })
    }

    /// Ends the generation in order.
    pub(super) fn close(self) {
        if let Ok(goodbye) = encode(&ToNode::Goodbye(Goodbye)) {
            // The node notices by itself where this does not arrive.
            let _ = self.frames.try_send(goodbye);
        }
    }
}

impl Drop for StageLine {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
