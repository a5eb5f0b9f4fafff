//! How often the bundled draft is right.

use super::ground::Failure;
use outrigger_kernels::team::Team;
use outrigger_runtime::{
    decoder::{DRAFT_MAX, DecodeRequest, Decoder, Draft, DraftRequest, LocalDecoder, ModelDraft},
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
    sampler::SamplerParams,
    tokenizer::{EncodeOptions, Tokenizer},
    transcript::Transcript,
};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

const BEGINNINGS: [&str; 6] = [
    "Once upon a time, there lived a little fox",
    "One day, a sleepy cat",
    "There was once a brave rabbit",
    "Early one morning, a hungry bear",
    "In a small house by the river lived a duck",
    "The old pony and the owl",
];
/// Tokens of each text.
const TOKENS: usize = 200;
const CONTEXT: u32 = 512;

/// The bundled models, measured.
pub struct BundledPair {
    /// The target's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// For each place in a draft, the share of drafts accepted there among
    /// those accepted up to there.
    pub acceptance: Arc<[f32]>,
}

/// Drafts with the bundled draft at every token of greedy texts of the bundled
/// target, and counts how far each was right.
///
/// # Errors
/// If the models cannot be run.
pub fn bundled_pair() -> Result<BundledPair, Failure> {
    let options = RunOptions::default();
    let target = open("demo-target-q8_0.gguf")?;
    let draft = open("demo-draft-q8_0.gguf")?;
    let team: Arc<Team> = options.team()?;
    let mut local = LocalDecoder::new(&target, &options)?;
    let mut draft = ModelDraft::new(&draft, &team, &options)?;
    let mut reached = [0_u32; DRAFT_MAX];
    let mut accepted = [0_u32; DRAFT_MAX];
    for beginning in BEGINNINGS {
        let (transcript, prompt) = text(&target, &mut local, beginning)?;
        let (tokens, state) = (transcript.tokens(), transcript.sampler_state());
        let mut prefix = Transcript::new(transcript.sampling().clone());
        prefix.push_prompt(&tokens[..prompt]);
        for at in prompt..tokens.len().saturating_sub(DRAFT_MAX) {
            let mut guesses = Vec::new();
            let mut request = DraftRequest {
                transcript: &prefix,
                tokens_max: DRAFT_MAX,
                cancel: &AtomicBool::new(false),
                progress: &mut |_| (),
            };
            draft.propose(&mut request, &mut guesses)?;
            for (place, (guess, token)) in guesses.iter().zip(&tokens[at..]).enumerate() {
                reached[place] += 1;
                if guess != token {
                    break;
                }
                accepted[place] += 1;
            }
            prefix.commit(tokens[at], state);
        }
    }
    let rates = accepted.iter().zip(reached);
    Ok(BundledPair {
        tokenizer: target.tokenizer().clone(),
        acceptance: rates
            .map(|(&accepted, reached)| accepted as f32 / reached.max(1) as f32)
            .collect(),
    })
}

/// A greedy text and the length of its prompt.
fn text(
    target: &LoadedModel,
    decoder: &mut LocalDecoder,
    beginning: &str,
) -> Result<(Transcript, usize), Failure> {
    let prompt = target
        .tokenizer()
        .encode(beginning, EncodeOptions::default())?;
    let mut transcript = Transcript::new(SamplerParams {
        seed: Some(0),
        temperature: 0.0,
        ..SamplerParams::default()
    });
    transcript.push_prompt(&prompt);
    let mut out = Vec::new();
    for _ in 0..TOKENS {
        let request = DecodeRequest {
            transcript: &transcript,
            tokens_max: 1,
            logprobs: None,
            cancel: &AtomicBool::new(false),
            progress: &mut |_| (),
        };
        decoder.decode(request, &mut out)?;
        let Some(decoded) = out.pop() else { break };
        if target.tokenizer().is_end_of_generation(decoded.token) {
            break;
        }
        transcript.commit(decoded.token, decoded.state);
    }
    Ok((transcript, prompt.len()))
}

/// The tokenizer of the bundled models.
///
/// # Errors
/// If the bundled target cannot be read.
pub fn bundled_tokenizer() -> Result<Arc<Tokenizer>, Failure> {
    Ok(open("demo-target-q8_0.gguf")?.tokenizer().clone())
}

fn open(name: &str) -> Result<LoadedModel, Failure> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/assets");
    let path = assets.join(name);
    let options = ModelOptions {
        context: Some(CONTEXT),
        ..ModelOptions::default()
    };
    Ok(LoadedModel::open(&path, &options)?)
}
