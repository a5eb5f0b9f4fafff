//! The stream of a split generation.

use super::{StageCommand, States};
use crate::{
    frames::{FrameError, FrameReader, FrameWriter, Incoming},
    node::{
        Command, Node, SessionKey,
        serve::{Caller, misplaced},
    },
    wire::{OpenStage, Refused, STATES_UP, Staged, StatesShape, ToEdge, ToNode},
};
use std::sync::{Arc, atomic::Ordering};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

/// Frames of one generation that wait to be computed. Beyond, its stream is
/// not read. One is computed while another comes.
const WAITING_MAX: usize = 2;

/// Frames of one generation that wait to be sent. Beyond, it is not computed
/// further.
const OUTBOX: usize = 4;

impl Node {
    /// Serves the stream of a split generation until it ends.
    pub(in crate::node) async fn split<R, W>(
        &self,
        caller: &Caller,
        open: OpenStage,
        reader: &mut FrameReader<R>,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let key = SessionKey {
            client: caller.client,
            session: open.session,
        };
        let numbers = open.numbers;
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (outbox, mut frames) = mpsc::channel(OUTBOX);
        let staged = match open.model == self.model.model {
            true => self.stage(key, stream, open, outbox).await,
            false => Err(Refused::Model),
        };
        let staged = match staged {
            Ok(staged) => staged,
            Err(refused) => return self.refuse(writer, refused).await,
        };
        writer.write(&ToEdge::Staged(staged)).await?;
        let ask = async {
            let shape = StatesShape {
                width: staged.width as usize,
                format: numbers,
                columns_max: staged.columns_max as usize,
            };
            let waiting = Arc::new(Semaphore::new(WAITING_MAX));
            loop {
                // Before the frame, so that no more are held than may wait.
                let Ok(room) = waiting.clone().acquire_owned().await else {
                    return Ok((true, None));
                };
                let (header, values) = match reader.read_states(STATES_UP, &shape).await? {
                    Some(Incoming::States(header, values)) => (header, values),
                    Some(Incoming::Message(ToNode::Goodbye(_))) => return Ok((true, None)),
                    Some(Incoming::Message(_)) => {
                        let what = "a message that does not belong to a split generation";
                        return Ok((false, Some(misplaced(what))));
                    }
                    None => return Ok((false, None)),
                };
                let states = States {
                    values,
                    taken: Instant::now(),
                    room,
                };
                let step = StageCommand::Step {
                    key,
                    stream,
                    header,
                    states,
                };
                if self
                    .engine
                    .commands
                    .send(Command::Stage(step))
                    .await
                    .is_err()
                {
                    return Ok((true, None));
                }
            }
        };
        let answer = async {
            while let Some(frame) = frames.recv().await {
                writer.write_frame(&frame).await?;
            }
            Ok((true, None))
        };
        let ended: Result<(bool, Option<Refused>), FrameError> = tokio::select! {
            ended = ask => ended,
            ended = answer => ended,
        };
        let gone = StageCommand::Gone {
            key,
            stream,
            ended: matches!(ended, Ok((true, _))),
        };
        // The engine has ended first where this fails.
        let _ = self.engine.commands.send(Command::Stage(gone)).await;
        match ended? {
            (_, Some(refused)) => self.refuse(writer, refused).await,
            (_, None) => Ok(()),
        }
    }

    /// The engine's answer to an edge that wants layers computed.
    async fn stage(
        &self,
        key: SessionKey,
        stream: u64,
        open: OpenStage,
        outbox: mpsc::Sender<Vec<u8>>,
    ) -> Result<Staged, Refused> {
        let (answer, answered) = oneshot::channel();
        let open = StageCommand::Open {
            key,
            stream,
            open: Box::new(open),
            outbox,
            answer,
        };
        if (self.engine.commands.send(Command::Stage(open)).await).is_err() {
            return Err(Refused::Draining);
        }
        answered.await.unwrap_or(Err(Refused::Draining))
    }
}
