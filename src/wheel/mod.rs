//! TODO(wheel)
