//! TODO(debian)
