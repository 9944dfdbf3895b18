//! What size a benchmark runs at.

/// This program's arguments without what Cargo adds, and whether it is only to be tried out.
///
/// `cargo bench` says `--bench`; `cargo test --bench NAME` says nothing, and means a run of a few
/// seconds of a build that is not optimized.
pub(crate) fn arguments() -> (Vec<String>, bool) {
    let (cargo, own): (Vec<String>, _) =
        std::env::args().skip(1).partition(|argument| argument == "--bench");
    let toy = cargo.is_empty();
    if toy && own.is_empty() {
        println!("tried out only: the figures mean nothing; `cargo bench` measures");
    }
    (own, toy)
}

/// How often each contender runs, unless `GOATBUILD_BENCH_RUNS` says otherwise.
pub(crate) fn runs(usually: usize) -> usize {
    std::env::var("GOATBUILD_BENCH_RUNS")
        .map_or(usually, |runs| runs.parse().expect("GOATBUILD_BENCH_RUNS is a number"))
}
