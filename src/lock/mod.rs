//! TODO(lock)
