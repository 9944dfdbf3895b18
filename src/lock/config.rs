//! What a model's `config.json` says of its size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The facts of a `config.json` that decide how much memory serving takes.
///
/// Names are the file's own; where models name one thing differently, the commonest is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFacts {
    /// The classes that load it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// The family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// The type of unquantized weights: `dtype`, formerly `torch_dtype`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Width of the residual stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<u64>,
    /// Width of a dense feed-forward layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<u64>,
    /// Layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_hidden_layers: Option<u64>,
    /// Query heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_attention_heads: Option<u64>,
    /// Key and value heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<u64>,
    /// Width of a head, where it isn't `hidden_size / num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<u64>,
    /// Rank of compressed keys and values (multi-head latent attention).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_lora_rank: Option<u64>,
    /// Width of the part of a key that carries positions (multi-head latent attention).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qk_rope_head_dim: Option<u64>,
    /// Tokens that windowed layers look back on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<u64>,
    /// Tokens in the vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<u64>,
    /// Whether the embedding is also the last layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tie_word_embeddings: Option<bool>,
    /// The longest context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_position_embeddings: Option<u64>,
    /// Experts per mixture layer: also `num_local_experts` and `n_routed_experts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_experts: Option<u64>,
    /// Experts that each token goes through: also `experts_per_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_experts_per_tok: Option<u64>,
    /// Experts that every token goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_shared_experts: Option<u64>,
    /// Width of an expert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moe_intermediate_size: Option<u64>,
    /// How many layers there are of each type, such as `full_attention`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub layer_types: BTreeMap<String, u64>,
    /// How weights are quantized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// The language model inside a larger one: `text_config`, or a speculator's
    /// `transformer_layer_config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_config: Option<Box<ConfigFacts>>,
}

/// `quantization_config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// `quant_method`, such as `fp8` or `mxfp4`.
    pub method: String,
    /// Bits per weight, where the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u64>,
}

impl ConfigFacts {
    /// Reads a `config.json`; none when it isn't a JSON object. What has an unexpected type is left
    /// out: hubs hold every kind of file, and a fact that is missing stops nobody.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(json).ok()?;
        value.is_object().then(|| Self::read(&value))
    }

    fn read(config: &Value) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| config.get(name));
        let number = |names: &[&str]| first(names).and_then(Value::as_u64);
        let word = |names: &[&str]| first(names).and_then(Value::as_str).map(short);
        let words = |name| config.get(name).and_then(Value::as_array).into_iter().flatten();
        let mut layer_types = BTreeMap::new();
        for kind in words("layer_types").filter_map(Value::as_str) {
            *layer_types.entry(short(kind)).or_default() += 1;
        }
        let inner = first(&["text_config", "transformer_layer_config"]);
        Self {
            architectures: words("architectures").filter_map(Value::as_str).map(short).collect(),
            model_type: word(&["model_type"]),
            dtype: word(&["dtype", "torch_dtype"]),
            hidden_size: number(&["hidden_size", "n_embd"]),
            intermediate_size: number(&["intermediate_size"]),
            num_hidden_layers: number(&["num_hidden_layers", "n_layer"]),
            num_attention_heads: number(&["num_attention_heads", "n_head"]),
            num_key_value_heads: number(&["num_key_value_heads"]),
            head_dim: number(&["head_dim"]),
            kv_lora_rank: number(&["kv_lora_rank"]),
            qk_rope_head_dim: number(&["qk_rope_head_dim"]),
            sliding_window: number(&["sliding_window"]),
            vocab_size: number(&["vocab_size"]),
            tie_word_embeddings: first(&["tie_word_embeddings"]).and_then(Value::as_bool),
            max_position_embeddings: number(&["max_position_embeddings", "n_positions"]),
            num_experts: number(&["num_experts", "num_local_experts", "n_routed_experts"]),
            num_experts_per_tok: number(&["num_experts_per_tok", "experts_per_token"]),
            n_shared_experts: number(&["n_shared_experts"]),
            moe_intermediate_size: number(&["moe_intermediate_size"]),
            layer_types,
            quantization: config.get("quantization_config").and_then(quantization),
            text_config: inner.filter(|it| it.is_object()).map(|it| Box::new(Self::read(it))),
        }
    }
}

/// No name in a `config.json` is longer by right; the lock stays readable whatever a file says.
fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(100).collect()
}

fn quantization(config: &Value) -> Option<Quantization> {
    let method = short(config.get("quant_method")?.as_str()?);
    let flag = |name| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    // The groups of compressed-tensors say it one by one.
    let groups = config.get("config_groups").and_then(Value::as_object).into_iter().flatten();
    let of_groups = groups.filter_map(|(_, group)| group.get("weights")?.get("num_bits")?.as_u64());
    let bits = config
        .get("bits")
        .and_then(Value::as_u64)
        .or_else(|| of_groups.max())
        .or_else(|| flag("load_in_4bit").then_some(4))
        .or_else(|| flag("load_in_8bit").then_some(8));
    Some(Quantization { method, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> ConfigFacts {
        ConfigFacts::parse(json.as_bytes()).expect("a JSON object")
    }

    #[test]
    fn other_names_of_one_thing_are_one_fact() {
        for experts in ["num_experts", "num_local_experts", "n_routed_experts"] {
            assert_eq!(facts(&format!("{{\"{experts}\": 128}}")).num_experts, Some(128));
        }
        assert_eq!(facts("{\"torch_dtype\": \"bfloat16\"}"), facts("{\"dtype\": \"bfloat16\"}"));
    }

    #[test]
    fn the_language_model_inside_is_read_too() {
        let outer = facts(
            r#"{"model_type": "gemma3", "text_config": {"hidden_size": 2560, "num_key_value_heads": 4}}"#,
        );
        let inner = outer.text_config.expect("an inner one");
        assert_eq!((inner.hidden_size, inner.num_key_value_heads), (Some(2560), Some(4)));
    }

    #[test]
    fn bits_are_found_wherever_a_method_says_them() {
        let of = |config: &str| {
            facts(&format!("{{\"quantization_config\": {config}}}")).quantization.unwrap()
        };
        let fp8 = of(r#"{"quant_method": "fp8", "weight_block_size": [128, 128]}"#);
        assert_eq!((fp8.method.as_str(), fp8.bits), ("fp8", None));
        assert_eq!(of(r#"{"quant_method": "awq", "bits": 4}"#).bits, Some(4));
        let groups = r#"{"quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}"#;
        assert_eq!(of(groups).bits, Some(8));
        assert_eq!(of(r#"{"quant_method": "bitsandbytes", "load_in_4bit": true}"#).bits, Some(4));
    }

    #[test]
    fn what_has_an_unexpected_type_is_left_out() {
        let odd = facts(
            r#"{"hidden_size": [1], "vocab_size": "many", "head_dim": -1, "sliding_window": null}"#,
        );
        assert_eq!(odd, ConfigFacts::default());
        assert_eq!(ConfigFacts::parse(b"[]"), None);
        assert_eq!(ConfigFacts::parse(b"<html>"), None);
    }
}
