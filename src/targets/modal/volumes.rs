//! Volumes by what functions are bound to: one that was deleted and made again under its name is
//! another, and what was deployed before goes on with the one that is gone.

use std::collections::BTreeMap;

use super::Modal;
use crate::fingerprint::Change;

/// Modal's own ids of volumes, by name; none of one that isn't there.
pub(super) type Ids = BTreeMap<String, Option<String>>;

impl Modal {
    /// Volumes with compile caches that have no receipts of their own.
    pub(super) fn other_caches(&self) -> Vec<&str> {
        let caches = self.engines.caches().into_iter();
        let names = caches.map(|cache| &*self.volume(cache.volume).name);
        let mut others: Vec<&str> =
            names.filter(|name| self.receipts_of_warmups().all(|known| known != *name)).collect();
        others.sort_unstable();
        others.dedup();
        others
    }

    /// The volumes that what is deployed of a model is bound to, and that no more are those of their
    /// names.
    pub(super) fn replaced_volumes(&self, model: &str) -> Vec<Change> {
        let Some(deployed) = self.deployed(model) else { return Vec::new() };
        let Some(now) = self.volume_ids() else { return Vec::new() };
        let changed = deployed.volumes.iter().filter_map(|(name, bound)| {
            let stands = now.get(name)?;
            (stands.as_ref() != Some(bound)).then(|| Change {
                field: format!("volume {name}"),
                old: Some(bound.clone()),
                new: Some(stands.clone().unwrap_or_else(|| "gone".to_owned())),
            })
        });
        changed.collect()
    }

    /// Whether caches that were filled for a model went with their volume.
    pub(super) fn lost_caches(&self, model: &str) -> bool {
        let weights = format!("volume {}", self.volume("model-cache").name);
        self.replaced_volumes(model).iter().any(|change| change.field != weights)
    }
}
