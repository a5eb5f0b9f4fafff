//! Chats: turns that follow on each other.

use outrigger_runtime::{
    chat::{Chat, ChatError},
    decoder::{Generation, GenerationOptions, LocalDecoder},
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
    sampler::SamplerParams,
    template::ChatTemplate,
};
use outrigger_tests::reference::own_folder;
use std::sync::atomic::AtomicBool;

const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}\
                        {{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

fn model() -> LoadedModel {
    let path = own_folder().join("qwen3/qwen3-Q8_0.gguf");
    LoadedModel::open(&path, &ModelOptions::default()).unwrap()
}

fn chat(model: &LoadedModel, temperature: f32) -> Chat {
    let sampling = SamplerParams {
        temperature,
        seed: Some(1),
        ..SamplerParams::default()
    };
    let template = ChatTemplate::parse(TEMPLATE).unwrap();
    Chat::new(model, Some(template), sampling).unwrap()
}

/// Answers the chat's last message; the answer and the positions computed for it.
fn answer(model: &LoadedModel, decoder: &mut LocalDecoder, chat: &mut Chat) -> (String, u32) {
    let options = GenerationOptions {
        tokens_max: Some(12),
        ..GenerationOptions::default()
    };
    let transcript = chat.prompt().unwrap();
    let mut generation = Generation::new(transcript, model.tokenizer().clone(), options).unwrap();
    let (mut text, mut computed) = (String::new(), 1);
    loop {
        let mut progress = |p: outrigger_runtime::decoder::Progress| computed = p.total;
        let step = generation.step(decoder, &AtomicBool::new(false), &mut progress);
        let step = step.unwrap();
        text += step.text;
        if step.finished.is_some() {
            break;
        }
    }
    chat.answered(generation, &text).unwrap();
    (text, computed)
}

#[test]
fn a_next_turn_computes_the_new_message_alone() {
    let model = model();
    let mut decoder = LocalDecoder::new(&model, &RunOptions::default()).unwrap();
    let mut chat = chat(&model, 0.0);
    chat.push(
        "system",
        "a long message that is computed once and never again",
    );
    chat.push("user", "first");
    let (_, first) = answer(&model, &mut decoder, &mut chat);
    assert!(first > 60, "all of the first prompt: {first}");
    chat.push("user", "second");
    let (_, second) = answer(&model, &mut decoder, &mut chat);
    // The last generated token, the markup, the message.
    assert!(second < 40, "only what is new: {second}");
    assert_eq!(chat.messages().len(), 5);
}

#[test]
fn a_rewritten_history_falls_back_to_what_is_common() {
    let model = model();
    let mut decoder = LocalDecoder::new(&model, &RunOptions::default()).unwrap();
    let mut kept = chat(&model, 0.0);
    kept.push("user", "one");
    answer(&model, &mut decoder, &mut kept);
    kept.pop();
    kept.push("assistant", "something else");
    kept.push("user", "two");
    let (text, _) = answer(&model, &mut decoder, &mut kept);
    let mut fresh = chat(&model, 0.0);
    fresh.push("user", "one");
    fresh.push("assistant", "something else");
    fresh.push("user", "two");
    let mut other = LocalDecoder::new(&model, &RunOptions::default()).unwrap();
    assert_eq!(answer(&model, &mut other, &mut fresh).0, text);
}

#[test]
fn an_answer_taken_back_comes_out_otherwise() {
    let model = model();
    let mut decoder = LocalDecoder::new(&model, &RunOptions::default()).unwrap();
    let mut chat = chat(&model, 1.0);
    assert!(chat.take_back_answer().is_none());
    chat.push("user", "hello");
    let (first, _) = answer(&model, &mut decoder, &mut chat);
    assert!(chat.take_back_answer().is_some());
    let (second, _) = answer(&model, &mut decoder, &mut chat);
    assert_ne!(first, second);
    assert_eq!(chat.messages().len(), 2);
}

#[test]
fn a_model_without_a_template_says_so() {
    let error = Chat::new(&model(), None, SamplerParams::default()).err();
    assert!(matches!(error, Some(ChatError::NoTemplate)));
}
