//! `tokenize`: text to token ids and back.

use super::Session;
use crate::{
    console,
    model::{self, ModelArgs, read_text},
    printable::quoted,
    table::{Align, Table},
    token_ids,
};
use anyhow::Context as _;
use clap::Args;
use outrigger_runtime::tokenizer::{DecodeOptions, EncodeOptions, TokenId, Tokenizer};
use std::{io::Write, path::Path};

/// Turns text into token ids, or ids into text
///
/// Prints a table of ids and the pieces they stand for. A beginning-of-text token is added where
/// the model asks for one, and the texts of control tokens become those tokens, unless flags say
/// otherwise. The file needs a vocabulary but no weights.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger tokenize -m model.gguf 'Hello world'
  outrigger tokenize -m model.gguf --ids - < text.txt > ids.json
  outrigger tokenize -m model.gguf --decode - < ids.json
  outrigger tokenize -m model.gguf --decode 1,15043,3186

Put `--` before a text that begins with a dash.")]
pub(crate) struct Tokenize {
    /// The text, several joined by blanks, or - for stdin; ids with --decode
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// Prints the ids alone, as a JSON array
    #[arg(long)]
    ids: bool,
    /// Adds no tokens for the beginning and the end of the text
    #[arg(long)]
    no_bos: bool,
    /// Takes the texts of control tokens as plain text
    #[arg(long)]
    no_parse_special: bool,
    /// Turns ids (1,2,3 or a JSON array) into text
    #[arg(long, conflicts_with_all = ["ids", "no_bos", "no_parse_special"])]
    decode: bool,
    /// With --decode, shows control tokens as their text
    #[arg(long, requires = "decode")]
    special: bool,
    #[command(flatten)]
    model: ModelArgs,
}

impl Tokenize {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let gguf = self.model.gguf(&session.config)?;
        let name = model::name(&gguf);
        let tokenizer = Tokenizer::from_metadata(gguf.metadata()).with_context(|| name.clone())?;
        let text = if self.texts == ["-"] {
            read_text(Path::new("-"))?
        } else {
            self.texts.join(" ")
        };
        if self.decode {
            let ids = token_ids::parse(&text)?;
            let options = DecodeOptions {
                render_special: self.special,
                continues: false,
            };
            let text = tokenizer.decode(&ids, options).context(name)?;
            if session.json {
                return console::print_json(&serde_json::json!({ "text": text }));
            }
            console::print_exact(&text)?;
            return Ok(());
        }
        let options = EncodeOptions {
            add_special: !self.no_bos,
            parse_special: !self.no_parse_special,
        };
        let ids = tokenizer.encode(&text, options).context(name)?;
        if self.ids {
            return console::print_json(&ids);
        }
        let pieces = ids.iter().map(|&id| piece(&tokenizer, id));
        if session.json {
            let pieces: Vec<_> = pieces.map(|p| String::from_utf8_lossy(p)).collect();
            return console::print_json(&serde_json::json!({ "ids": ids, "pieces": pieces }));
        }
        let mut table = Table::new([("ID", Align::Right), ("PIECE", Align::Left)]);
        for (id, piece) in ids.iter().zip(pieces) {
            table.push([id.to_string(), quoted(piece)]);
        }
        let mut out = console::stdout();
        table.print(&mut out)?;
        out.flush()?;
        Ok(())
    }
}

/// What a token stands for in text; of a control token its name.
fn piece(tokenizer: &Tokenizer, id: TokenId) -> &[u8] {
    match tokenizer.token_bytes(id) {
        Some(bytes) if !bytes.is_empty() => bytes,
        _ => tokenizer.token_text(id).unwrap_or_default().as_bytes(),
    }
}
