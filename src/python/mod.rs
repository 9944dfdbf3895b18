//! TODO(python)
