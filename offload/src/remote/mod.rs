//! Tokens that come from a node.

mod ahead;
mod client;
mod error;
mod failover;
mod late;
mod node_link;
mod pipelined;
mod placed;
mod pulse;
mod stage;
mod stage_line;
mod stage_record;
mod stream;
mod traffic;
mod verify;

pub use client::{Answer, Client, Connect, Remote};
pub use error::RemoteError;
pub use failover::{FailoverDecoder, Reach, Takeover};
pub use late::LateDecoder;
pub use node_link::NodeLink;
pub use pipelined::{PipelinedDecoder, Pipelining};
pub use placed::{NothingAllowed, PlacedDecoder, Placement, PolicySource, Surroundings};
pub use stage::{RemoteStage, RemoteStageConfig};
pub use stage_record::{StageRecord, StageTimes};
pub use stream::StreamDecoder;
pub use traffic::Traffic;
pub use verify::VerifyTarget;
