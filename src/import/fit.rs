//! Whether weights can fit at all, by what their repository's name says.

use super::found::Found;

/// What a GPU has to hold beside the weights, as a share of its memory.
const ROOM: f64 = 0.92;

/// Says that the weights can't fit, where their name leaves no doubt.
pub(super) fn misfit(found: &Found, gpus: &[(&'static str, f64)]) -> Option<String> {
    let gpu = found.hardware.get("gpu")?.as_str()?;
    let count = found.hardware.get("count").and_then(toml::Value::as_integer).unwrap_or(1);
    let memory = gpus.iter().find(|(name, _)| *name == gpu)?.1;
    let name = found.weights.as_deref()?.to_ascii_lowercase();
    let flag = |name: &str| found.written.flags.get(name).and_then(toml::Value::as_str);
    let quantized = flag("quantization").unwrap_or_default();
    let parts = || name.split(['/', '-', '_']);
    let has = |words: &[&str]| parts().any(|part| words.contains(&part));
    let bytes = if has(&["awq", "gptq", "int4", "4bit", "w4a16", "nvfp4", "mxfp4", "gguf", "bnb"])
        || name.contains("gpt-oss")
        || ["awq", "gptq", "bitsandbytes", "awq_marlin"].contains(&quantized)
    {
        0.5
    } else if has(&["fp8", "int8", "w8a8"]) || !quantized.is_empty() {
        1.0
    } else {
        2.0
    };
    let billions = parts().find_map(|part| {
        let number = part.strip_suffix('b')?;
        // `8x7b` shares some of its layers.
        let (times, each) = number.split_once('x').unwrap_or(("1", number));
        Some(times.parse::<f64>().ok()? * each.parse::<f64>().ok()?)
    })?;
    let needed = billions * bytes * 1e9 / f64::from(1 << 30);
    #[expect(clippy::cast_precision_loss, reason = "it is at most 8")]
    let room = memory * count as f64 * ROOM;
    (needed > room).then(|| {
        format!(
            "by its name the model has {needed:.0} GiB of weights, and {count} × {gpu} hold {:.0} GiB: \
             it can't have been served so",
            room / ROOM
        )
    })
}
