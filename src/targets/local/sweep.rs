//! What commands that were killed left half-made.

use super::{Local, place};
use crate::durable::TEMPORARY;
use crate::event::Reporter;
use crate::leftovers::sweep;
use crate::runtime::SCRATCH;

impl Local {
    /// Removes it; the caller holds the locks.
    pub(super) fn sweep_all(&self) {
        sweep(&self.places.ours, SCRATCH);
        sweep(&self.places.ours, TEMPORARY);
        let roots = self.places.state.join("roots");
        // Other projects unpack there too; who does, holds the lock.
        if let Ok(_unpacking) = place::unpacking(&roots, false, &Reporter::silent()) {
            sweep(&roots, ".unpacking-");
        }
        self.sweep_moves();
        let both = [self.volumes(), self.old_volumes()].map(std::fs::read_dir);
        for volume in both.into_iter().flatten().flatten().flatten() {
            let volume = volume.path();
            sweep(&volume.join(".goatbuild"), TEMPORARY);
            for model in std::fs::read_dir(volume.join("hub")).into_iter().flatten().flatten() {
                sweep(&model.path().join("blobs"), ".incoming-");
                sweep(&model.path().join("refs"), TEMPORARY);
            }
        }
    }
}
