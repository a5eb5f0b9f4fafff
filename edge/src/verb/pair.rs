//! `outrigger pair`: enrols an edge with a node.

use super::Session;
use crate::{console, exit::Usage, folders};
use anyhow::Context as _;
use clap::Args;
use outrigger_offload::{
    transport::{LinkConfig, bind, pair},
    trust::{Authority, ClientName, Identities, PairToken, Validity},
};
use serde::Serialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// Enrols this machine with a node, or lets another one enrol
///
/// On the node, `--issue` prints a token that enrols one edge within ten minutes. On the edge,
/// `outrigger pair TOKEN` makes a key, which never leaves the machine, and has the node sign it;
/// from then on `run --node NAME` reaches the node over mutual TLS.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pair {
    /// The token that the node printed
    #[arg(value_name = "TOKEN", required_unless_present_any = ["issue", "list", "revoke"])]
    token: Option<PairToken>,
    /// What this machine calls the node
    #[arg(long, value_name = "NAME", default_value = "node")]
    name: ClientName,
    /// What the node is to call this machine [default: its host name]
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// On the node: prints a token; HOST:PORT is where edges reach the node
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["token", "list", "revoke"])]
    issue: Option<String>,
    /// On the node: lists the edges that are enrolled
    #[arg(long, conflicts_with_all = ["token", "revoke"])]
    list: bool,
    /// On the node: takes an edge's certificates back, by its name or a fingerprint
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    revoke: Option<String>,
    #[command(flatten)]
    state: NodeState,
}

/// Where a node keeps its keys.
#[derive(Debug, Args)]
pub(super) struct NodeState {
    /// The node's folder of keys and certificates [default: $XDG_STATE_HOME/outrigger/node]
    #[arg(
        long,
        value_name = "FOLDER",
        env = "OUTRIGGER_NODE_STATE",
        hide_env_values = true
    )]
    state: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  outrigger pair --issue cloud.example:7443
      on the node: prints a token
  outrigger pair --name cloud orpair1...
      on the edge: enrols it; `outrigger run --node cloud` then uses the node
  outrigger pair --revoke laptop
      on the node: shuts an edge out, and ends its connections";

/// How long a token holds.
const TOKEN: Duration = Duration::from_secs(600);

impl NodeState {
    /// The node's authority; made if there is none.
    pub(super) fn authority(&self, configured: Option<&PathBuf>) -> anyhow::Result<Authority> {
        let default = || folders::state().map(|folder| folder.join("node"));
        let folder = self.state.as_ref().or(configured).cloned().or_else(default);
        let why = "no folder for the node's keys: HOME is not set; give --state FOLDER";
        let folder = folder.ok_or_else(|| Usage(why.into()))?;
        Ok(Authority::open(
            &folder,
            Validity::default(),
            SystemTime::now(),
        )?)
    }
}

/// The folder of what nodes signed for this machine.
pub(super) fn identities() -> anyhow::Result<Identities> {
    let folder = folders::state().context("no folder for keys: HOME is not set")?;
    Ok(Identities::open(&folder.join("identities"))?)
}

#[derive(Serialize)]
struct Issued {
    token: String,
    expires_s: u64,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    fingerprint: String,
    revoked: bool,
}

impl Pair {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        let configured = session.config.node.state.as_ref();
        let now = SystemTime::now();
        if let Some(address) = &self.issue {
            let authority = self.state.authority(configured)?;
            let token = authority.issue_token(address, TOKEN, now)?.to_string();
            if session.json {
                let expires_s = TOKEN.as_secs();
                return console::print_json(&Issued { token, expires_s });
            }
            console::say(format_args!("on the edge, within ten minutes:"));
            println!("outrigger pair {token}");
            return Ok(());
        }
        if let Some(name) = &self.revoke {
            let taken = self.state.authority(configured)?.revoke(name, now)?;
            console::say(format_args!(
                "{} certificates of {name} taken back",
                taken.len()
            ));
            return Ok(());
        }
        if self.list {
            let clients = self.state.authority(configured)?.list(now)?;
            let listed = clients.into_iter().map(|client| Listed {
                name: client.name.to_string(),
                fingerprint: client.fingerprint.to_string(),
                revoked: client.revoked,
            });
            let listed: Vec<_> = listed.collect();
            if session.json {
                return console::print_json(&listed);
            }
            for client in listed {
                let note = if client.revoked { "  revoked" } else { "" };
                println!("{:<24} {}{note}", client.name, client.fingerprint);
            }
            return Ok(());
        }
        let token = self.token.context("a token is needed")?;
        let client = self.client.unwrap_or_else(host_name);
        let identities = identities()?;
        let runtime = super::tokio_runtime()?;
        let identity = runtime.block_on(async {
            let endpoint = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
            anyhow::Ok(pair(&endpoint, &token, &client, &LinkConfig::default()).await?)
        })?;
        identities.save(&self.name, &identity)?;
        console::say(format_args!(
            "paired with {} as {}; `outrigger run --node {}` uses it",
            token.address,
            identity.peer()?.name,
            self.name
        ));
        Ok(())
    }
}

/// What the system calls this machine.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "edge".into(),
        name => name.into(),
    }
}
