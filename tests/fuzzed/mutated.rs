//! Inputs that nobody wrote: right ones, changed by chance, and the same ones at every run.
//!
//! What reads files of others has to refuse them or take them, and never to panic. `GOATBUILD_ROUNDS` has
//! each test go through as many inputs: a million of them find what a thousand don't.

/// Numbers that formats have for sizes, offsets and counts, and that readers get wrong.
const SIZES: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 40, u64::MAX];

/// Xorshift64*: the same numbers on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below this one, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below one")
    }
}

/// Names the round that a panic is of.
struct Round(u64);

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("round {} of these inputs", self.0);
        }
    }
}

/// Gives `each` so many of the inputs, changed.
pub(super) fn mutated(inputs: &[Vec<u8>], rounds: u64, mut each: impl FnMut(&[u8])) {
    let wanted = std::env::var("GOATBUILD_ROUNDS").ok().and_then(|text| text.parse().ok());
    for round in 0..wanted.unwrap_or(rounds) {
        let told = Round(round);
        let mut chance = Chance(round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut input = inputs[chance.below(inputs.len())].clone();
        for _ in 0..=chance.below(6) {
            mutate(&mut input, inputs, &mut chance);
        }
        each(&input);
        drop(told);
    }
}

fn mutate(input: &mut Vec<u8>, inputs: &[Vec<u8>], chance: &mut Chance) {
    if input.is_empty() {
        input.push(0);
    }
    let at = chance.below(input.len());
    let end = at + 1 + chance.below((input.len() - at).min(64));
    match chance.below(9) {
        0 => input[at] ^= 1 << chance.below(8),
        1 => input[at] = chance.next().to_le_bytes()[0],
        // A field of some width, as small formats have it.
        2 | 3 => {
            let size = SIZES[chance.below(SIZES.len())].to_le_bytes();
            let width = (1 << chance.below(4)).min(input.len() - at);
            input[at..at + width].copy_from_slice(&size[..width]);
        }
        // The same of text.
        4 => {
            let size = SIZES[chance.below(SIZES.len())].to_string();
            input.splice(at..end.min(at + size.len()), size.bytes());
        }
        5 => drop(input.drain(at..end)),
        6 => {
            let again = input[at..end].repeat(1 + chance.below(4));
            input.splice(at..at, again);
        }
        7 => input.truncate(at),
        _ => {
            let other = &inputs[chance.below(inputs.len())];
            if !other.is_empty() {
                let from = chance.below(other.len());
                let to = from + 1 + chance.below((other.len() - from).min(256));
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
}
