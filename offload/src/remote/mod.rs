//! Tokens that come from a node.

mod ahead;
mod client;
mod error;
mod late;
mod node_link;
mod pipelined;
mod placed;
mod placement;
mod pulse;
mod reach;
mod served;
mod stage;
mod stage_line;
mod stage_record;
mod stream;
mod tally;
mod traffic;
mod verify;
mod warm;

pub use client::{Client, Connect, Remote};
pub use error::RemoteError;
pub use late::LateDecoder;
pub use node_link::{Linked, NodeAt, NodeLink, Renewed};
pub use pipelined::{PipelinedDecoder, Pipelining};
pub use placed::PlacedDecoder;
pub use placement::{
    Arrivals, Decoders, Fallback, Next, NothingAllowed, Patience, Placement, PolicySource,
    Surroundings,
};
pub use reach::Reach;
pub use served::{NodeTimes, Served};
pub use stage::{RemoteStage, RemoteStageConfig};
pub use stage_record::{StageRecord, StageTimes};
pub use stream::StreamDecoder;
pub use traffic::Traffic;
pub use verify::VerifyTarget;
pub use warm::WarmDecoder;
