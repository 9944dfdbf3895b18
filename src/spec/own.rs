//! Settings that one target or one gateway alone understands.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What a target or a gateway alone reads and understands of a file; nothing, unless it has such a
/// thing.
#[derive(Debug, Clone, Default)]
pub struct Own(Option<Arc<dyn Settings>>);

impl Own {
    /// This, for whoever made it.
    pub fn new(value: impl Any + fmt::Debug + PartialEq + Send + Sync) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// What was made; asked for by its maker alone.
    pub fn get<T: Any>(&self) -> &T {
        let value: Option<&dyn Any> = self.0.as_deref().map(|value| value as &dyn Any);
        value
            .and_then(|value| value.downcast_ref())
            .unwrap_or_else(|| panic!("BUG: settings of another: {self:?}"))
    }
}

impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.equals(&**other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl Eq for Own {}

/// What any settings can do.
trait Settings: Any + fmt::Debug + Send + Sync {
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<T: Any + fmt::Debug + PartialEq + Send + Sync> Settings for T {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
}
