//! The interactive chat.

use super::{
    complete::{PromptBar, summary},
    describe,
    gauge::Gauge,
};
use crate::{console, interrupt};
use outrigger_runtime::{
    chat::Chat,
    decoder::{Decoder, FinishReason, Generation, GenerationOptions},
    loaded::LoadedModel,
    sampler::SamplerParams,
    template::ChatTemplate,
};
use rustyline::{DefaultEditor, error::ReadlineError};
use std::{
    io::{IsTerminal, Write, stdin, stdout},
    path::PathBuf,
};

const HELP: &str = "\
/help        this list
/new         forgets the conversation
/again       answers the last message anew
/quit        ends the chat, as Ctrl-D does
A line that ends in \\ goes on in the next. Ctrl-C stops an answer.";

pub(super) struct Repl<'a> {
    loaded: &'a LoadedModel,
    decoder: Box<dyn Decoder>,
    options: GenerationOptions,
    gauge: Gauge,
    chat: Chat,
}

/// What a line asks for.
enum Request {
    Say(String),
    Command(String),
    End,
}

impl<'a> Repl<'a> {
    pub(super) fn new(
        loaded: &'a LoadedModel,
        decoder: Box<dyn Decoder>,
        options: GenerationOptions,
        gauge: Gauge,
        template: Option<ChatTemplate>,
        sampling: SamplerParams,
        system: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut chat = Chat::new(loaded, template, sampling)?;
        if let Some(system) = system {
            chat.push("system", system);
        }
        Ok(Self {
            loaded,
            decoder,
            options,
            gauge,
            chat,
        })
    }

    /// Talks until the user ends it. `first` is answered before anything is
    /// read.
    pub(super) fn run(mut self, first: Option<String>) -> anyhow::Result<()> {
        let mut lines = Lines::open()?;
        if lines.interactive() {
            println!("{}", describe(self.loaded.model()));
            println!("/help lists commands; Ctrl-D ends the chat.");
        }
        let mut next = first.map(Request::Say);
        loop {
            let request = match next.take() {
                Some(request) => request,
                None => lines.read()?,
            };
            let outcome = match request {
                Request::End => break,
                Request::Say(text) => self.say(&text),
                Request::Command(command) => match command.as_str() {
                    "help" => {
                        println!("{HELP}");
                        Ok(())
                    }
                    "new" => {
                        self.chat.clear();
                        Ok(())
                    }
                    "again" => self.again(),
                    "quit" | "exit" | "bye" => break,
                    _ => {
                        println!("/{command} is not a command; /help lists them.");
                        Ok(())
                    }
                },
            };
            // What is wrong with one message need not end the chat.
            if let Err(error) = outcome {
                if !lines.interactive() {
                    return Err(error);
                }
                eprintln!("outrigger: {error:#}");
            }
        }
        lines.save();
        Ok(())
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.chat.push("user", text);
        let result = self.answer();
        if result.is_err() {
            self.chat.pop();
        }
        result
    }

    fn again(&mut self) -> anyhow::Result<()> {
        let Some(answer) = self.chat.take_back_answer() else {
            println!("There is no answer yet.");
            return Ok(());
        };
        let result = self.answer();
        if result.is_err() {
            let text = answer["content"].as_str().unwrap_or_default();
            self.chat.push("assistant", text);
        }
        result
    }

    fn answer(&mut self) -> anyhow::Result<()> {
        let transcript = self.chat.prompt()?;
        let tokenizer = self.loaded.tokenizer().clone();
        let mut generation = Generation::new(transcript, tokenizer, self.options.clone())?;
        let cancel = interrupt::flag();
        let mut bar = PromptBar::new();
        let mut out = stdout();
        let mut answer = String::new();
        let gauge = &self.gauge;
        let reason = loop {
            let mut progress = |progress| {
                gauge.clear();
                bar.show(progress);
            };
            let step = generation.step(self.decoder.as_mut(), cancel, &mut progress);
            bar.clear();
            gauge.clear();
            let step = step?;
            // Some models begin with a blank that is no part of the answer.
            let text = match answer.is_empty() {
                true => step.text.trim_start(),
                false => step.text,
            };
            let shown = console::visible(text).to_string();
            write!(out, "{shown}")?;
            out.flush()?;
            answer += text;
            if let Some(reason) = step.finished {
                break reason;
            }
            gauge.wrote(&shown, &generation, self.decoder.as_ref());
        };
        writeln!(out)?;
        gauge.ended();
        if out.is_terminal() {
            writeln!(out, "{}", summary(&generation, reason, None, None))?;
        } else if reason == FinishReason::Context {
            tracing::warn!(
                "the context of {} positions is full",
                self.decoder.context()
            );
        }
        self.chat.answered(generation, answer.trim_end())?;
        Ok(())
    }
}

/// Where messages come from: an editor with history, or a pipe.
enum Lines {
    Editor {
        editor: Box<DefaultEditor>,
        history: Option<PathBuf>,
    },
    Pipe,
}

impl Lines {
    fn open() -> anyhow::Result<Self> {
        if !stdin().is_terminal() {
            return Ok(Self::Pipe);
        }
        let mut editor = DefaultEditor::new()?;
        let history = history_file();
        if let Some(file) = &history {
            // There is none before the first chat.
            let _ = editor.load_history(file);
        }
        Ok(Self::Editor {
            editor: Box::new(editor),
            history,
        })
    }

    fn interactive(&self) -> bool {
        matches!(self, Self::Editor { .. })
    }

    /// The next request; lines that end in a backslash are joined.
    fn read(&mut self) -> anyhow::Result<Request> {
        let mut text = String::new();
        loop {
            let prompt = if text.is_empty() { "> " } else { ". " };
            let Some(line) = self.line(prompt)? else {
                return Ok(Request::End);
            };
            match line.strip_suffix('\\') {
                Some(start) => {
                    text += start;
                    text.push('\n');
                }
                None => {
                    text += &line;
                    if !text.trim().is_empty() {
                        break;
                    }
                    text.clear();
                }
            }
        }
        if let Self::Editor { editor, .. } = self {
            // A full history forgets its oldest line by itself.
            let _ = editor.add_history_entry(text.as_str());
        }
        Ok(match text.trim().strip_prefix('/') {
            Some(command) => Request::Command(command.trim().to_owned()),
            None => Request::Say(text),
        })
    }

    /// One line, without its end; `None` once there are no more.
    fn line(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        match self {
            Self::Editor { editor, .. } => loop {
                match editor.readline(prompt) {
                    Ok(line) => return Ok(Some(line)),
                    Err(ReadlineError::Interrupted) => println!("(Ctrl-D ends the chat)"),
                    Err(ReadlineError::Eof) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            },
            Self::Pipe => {
                let mut line = String::new();
                if stdin().read_line(&mut line)? == 0 {
                    return Ok(None);
                }
                Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
            }
        }
    }

    fn save(&mut self) {
        if let Self::Editor {
            editor,
            history: Some(file),
        } = self
            && let Err(error) = editor.save_history(file)
        {
            tracing::warn!("the history cannot be kept in {}: {error}", file.display());
        }
    }
}

/// `$XDG_STATE_HOME/outrigger/history`, in a folder that exists after.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let folder = state.filter(|path| path.is_absolute()).or_else(home)?;
    let folder = folder.join("outrigger");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
