//! TODO(spec)
