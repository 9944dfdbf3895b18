//! Permissions, as `chmod` spells them.

/// A change of permissions, as `chmod` spells it.
pub(super) enum Mode {
    Octal(u32),
    /// Whose bits, what is done, and which ones, as if for others.
    Symbolic {
        whose: u32,
        operator: char,
        bits: u32,
        on_directories: bool,
    },
}

impl Mode {
    /// Reads all changes of an argument; none where one isn't known.
    pub(super) fn read(text: &str) -> Option<Vec<Self>> {
        if let Ok(mode) = u32::from_str_radix(text, 8) {
            return Some(vec![Self::Octal(mode)]);
        }
        text.split(',').map(Self::symbolic).collect()
    }

    fn symbolic(text: &str) -> Option<Self> {
        let at = text.find(['+', '-', '='])?;
        let mut whose = 0;
        for letter in text[..at].chars() {
            whose |= match letter {
                'u' => 0o700,
                'g' => 0o070,
                'o' => 0o007,
                'a' => 0o777,
                _ => return None,
            };
        }
        // Nobody named is all, as far as the mask of a new process lets them.
        let (whose, masked) = if whose == 0 { (0o777, 0o022) } else { (whose, 0) };
        let operator = text[at..].chars().next()?;
        let (mut bits, mut on_directories) = (0, false);
        for letter in text[at + 1..].chars() {
            match letter {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' => on_directories = true,
                // Bits that lend an owner's rights are left out.
                's' => {}
                't' => bits |= 0o1000,
                _ => return None,
            }
        }
        Some(Self::Symbolic { whose, operator, bits: bits & !masked, on_directories })
    }

    /// What becomes of permissions.
    pub(super) fn apply(&self, mode: u32, directory: bool) -> u32 {
        match *self {
            Self::Octal(mode) => mode,
            Self::Symbolic { whose, operator, bits, on_directories } => {
                let executes = on_directories && (directory || mode & 0o111 != 0);
                let bits = if executes { bits | 0o111 } else { bits };
                let bits = bits & (whose | 0o1000);
                match operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => (mode & !whose) | bits,
                }
            }
        }
    }
}
