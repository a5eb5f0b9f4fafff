use super::*;

const LLAMA_1B: MixtureModel = MixtureModel {
    layers: 16,
    experts: 0,
    group: 4,
    tied: true,
    importance: false,
};

/// The layers in which a tensor has a format.
fn layers(mixture: Mixture, part: &str, format: Format, model: &MixtureModel) -> Vec<usize> {
    let has = |layer: &usize| {
        let name = format!("blk.{layer}.{part}.weight");
        mixture.format(&name, &[2048, 512], model) == format
    };
    (0..model.layers).filter(has).collect()
}

#[test]
fn names_and_numbers_lead_back() {
    for mixture in Mixture::ALL {
        assert_eq!(Mixture::from_name(mixture.name()), Some(mixture));
        assert_eq!(Mixture::from_file_type(mixture.file_type()), Some(mixture));
    }
    assert_eq!(Mixture::from_name("q4_k"), Some(Mixture::Q4_K_M));
    assert_eq!(Mixture::from_name("q4"), None);
    assert_eq!(Mixture::from_file_type(1000), None);
}

#[test]
fn some_layers_get_more_bits() {
    let of = |mixture, part, format| layers(mixture, part, format, &LLAMA_1B);
    let more = [0, 1, 4, 7, 10, 13, 14, 15];
    for part in ["attn_v", "ffn_down"] {
        assert_eq!(of(Mixture::Q4_K_M, part, Format::Q6_K), more);
        assert_eq!(of(Mixture::Q5_K_M, part, Format::Q6_K), more);
    }
    assert_eq!(of(Mixture::Q4_K_M, "attn_v", Format::Q4_K).len(), 8);
    assert_eq!(of(Mixture::Q4_K_M, "attn_q", Format::Q4_K).len(), 16);
    assert_eq!(of(Mixture::Q4_K_S, "attn_v", Format::Q5_K), [0, 1, 2, 3]);
    assert_eq!(of(Mixture::Q4_K_S, "ffn_down", Format::Q5_K), [0, 1]);
    assert_eq!(of(Mixture::Q4_0, "ffn_down", Format::Q4_0).len(), 16);
}

#[test]
fn the_head_has_six_bits_wherever_it_is() {
    let untied = MixtureModel {
        tied: false,
        ..LLAMA_1B
    };
    let of = |mixture: Mixture, name, model| mixture.format(name, &[2048, 1000], model);
    for mixture in [Mixture::Q4_0, Mixture::Q4_K_M, Mixture::Q6_K] {
        assert_eq!(of(mixture, "token_embd.weight", &LLAMA_1B), Format::Q6_K);
        assert_eq!(of(mixture, "output.weight", &untied), Format::Q6_K);
    }
    let of = |mixture, model| of(mixture, "token_embd.weight", model);
    assert_eq!(of(Mixture::Q4_K_M, &untied), Format::Q4_K);
    assert_eq!(of(Mixture::Q8_0, &LLAMA_1B), Format::Q8_0);
    assert_eq!(of(Mixture::F16, &LLAMA_1B), Format::F16);
}

#[test]
fn eight_experts_share_an_attention_of_more_bits() {
    let mixtral = MixtureModel {
        layers: 32,
        experts: 8,
        group: 4,
        tied: false,
        importance: false,
    };
    let of = |part, format| layers(Mixture::Q4_K_M, part, format, &mixtral).len();
    assert_eq!(of("attn_v", Format::Q8_0), 32);
    assert_eq!(of("attn_k", Format::Q8_0), 32);
    assert_eq!(of("attn_output", Format::Q5_K), 32);
    assert_eq!(of("attn_q", Format::Q4_K), 32);
    assert_eq!(of("ffn_gate_inp", Format::F32), 32);
}

#[test]
fn rows_that_are_not_whole_blocks_get_smaller_ones() {
    let of = |cols| Mixture::Q4_K_M.format("blk.0.attn_q.weight", &[cols, 8], &LLAMA_1B);
    assert_eq!(of(256), Format::Q4_K);
    assert_eq!(of(96), Format::Q5_0);
    assert_eq!(of(40), Format::F16);
}

#[test]
fn fused_matrices_count_as_values() {
    let of = |format| layers(Mixture::Q4_K_M, "attn_qkv", format, &LLAMA_1B).len();
    assert_eq!((of(Format::Q6_K), of(Format::Q4_K)), (8, 8));
}

#[test]
fn an_importance_matrix_changes_choices() {
    let model = MixtureModel {
        importance: true,
        ..LLAMA_1B
    };
    let of = |mixture, format, model| layers(mixture, "ffn_down", format, model);
    assert_eq!(of(Mixture::Q4_0, Format::Q4_1, &model), [0, 1]);
    assert!(of(Mixture::Q4_0, Format::Q4_1, &LLAMA_1B).is_empty());
    assert_eq!(of(Mixture::IQ4_XS, Format::Q5_K, &LLAMA_1B), [0, 1]);
    assert!(of(Mixture::IQ4_XS, Format::Q5_K, &model).is_empty());
}

#[test]
fn few_bits_need_an_importance_matrix() {
    let needs = |mixture: Mixture, name, format| mixture.needs_importance(name, format);
    assert!(needs(
        Mixture::IQ2_XS,
        "blk.0.attn_q.weight",
        Format::IQ2_XS
    ));
    assert!(needs(Mixture::Q2_K_S, "blk.0.attn_q.weight", Format::Q2_K));
    assert!(!needs(Mixture::Q2_K, "blk.0.attn_q.weight", Format::Q2_K));
    assert!(!needs(Mixture::IQ2_XS, "token_embd.weight", Format::IQ2_XS));
}

#[test]
fn vectors_routers_and_small_matrices_are_left_alone() {
    assert!(Mixture::changes("blk.0.attn_q.weight", &[64, 64]));
    assert!(Mixture::changes("blk.0.ffn_down_exps.weight", &[64, 64, 8]));
    for (name, dims) in [
        ("blk.0.attn_norm.weight", [64].as_slice()),
        ("blk.0.attn_q_norm.weight", &[64, 64]),
        ("blk.0.ffn_gate_inp.weight", &[64, 8]),
        ("blk.0.attn_q.bias", &[64, 1]),
        ("blk.0.ssm_conv1d.weight", &[4, 64]),
    ] {
        assert!(!Mixture::changes(name, dims), "{name}");
    }
}
